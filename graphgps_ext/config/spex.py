"""Config group `spex`: the two stages of Spexphormer, the attention scores and the sampling."""

from yacs.config import CfgNode

from graphgps_ext.config.group import ensure_group


def spex_config(cfg: CfgNode) -> None:
    """Adds the keys of the group `spex`."""
    ensure_group(cfg, 'spex')

    # ---- Both stages

    # Clamp logit/temperature of the attention to ±this value; 0.0 = no clamp (the soft-max is stable).
    cfg.spex.logit_clamp = 0.0

    # ---- Stage 1, the attention score estimator

    # Normalise the value vectors to unit length, times one learned scalar.
    cfg.spex.normalize_values = True

    # Temperature annealing: factor per epoch after the hold phase; 1.0 = no annealing.
    cfg.spex.temperature_decay = 0.99

    # Smallest temperature.
    cfg.spex.temperature_min = 0.05

    # Epochs at temperature 1 before annealing starts.
    cfg.spex.temperature_hold = 5

    # Choose the best epoch only among those after the hold phase.
    cfg.spex.select_after_hold = False

    # ---- Stage 2, Spexphormer

    # Stage-1 result folder: a name is looked up in out_dir, a path is taken as it is.
    cfg.spex.estimator = ''

    # Seed of the stage-1 run whose scores are used; -1 = the lowest of those on the same split.
    cfg.spex.estimator_seed = -1

    # Use the first gt.layers layers of an estimator that has more.
    cfg.spex.allow_fewer_layers = False

    # Layer of the estimator by whose scores each layer samples; the last entry serves all further layers.
    # [] = each layer its own.
    cfg.spex.score_layers = []

    # In-neighbours sampled per node in each layer; layer 0 is nearest the input. One entry serves all layers.
    cfg.spex.layer_degrees = []

    # How they are sampled: weighted (reservoir, by attention scores), uniform, or top (largest scores).
    cfg.spex.strategy = 'weighted'

    # New draws per epoch or per batch.
    cfg.spex.resample = 'epoch'

    # Number of epochs that share one draw (resample: epoch).
    cfg.spex.resample_every = 1

    # A node with fewer in-neighbours than asked for: mask its empty slots, or repeat draws to fill them.
    cfg.spex.fill = 'mask'

    # Independent draws whose predictions are averaged when the chosen epoch is evaluated.
    cfg.spex.eval_draws = 1
