"""The head that turns attention weights of the estimator into attention scores."""

from torch import Tensor, nn
from torch_geometric.graphgym.register import register_head

from graphgps_ext.errors import ConfigError


@register_head('spex_attention_scores')
class AttentionScoresHead(nn.Module):
    """Attention weights of one layer, [E, 1], to its attention scores: [E] float32 on the CPU.

    An estimator has one head: of several, it would be open whose weights to sample by.
    """

    def forward(self, weights: Tensor) -> Tensor:
        """[E, 1] to [E].

        Raises:
            ValueError: if there are several heads.
        """
        if weights.dim() != 2 or weights.shape[1] != 1:
            raise ConfigError(
                f'attention scores need weights of shape [E, 1], one head, got {tuple(weights.shape)} '
                f'(set gt.n_heads 1)'
            )
        return weights[:, 0].detach().float().cpu()
