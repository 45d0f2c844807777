"""Config group `spex`: the two stages of Spexphormer, the attention scores and the sampling."""

from graphgps_ext.config.key import Key
from graphgps_ext.sampling.strategies import FILLS, STRATEGIES

BOTH_STAGES = {
    'spex.logit_clamp': Key(
        0.0,
        'Clamp logit/temperature of the attention to ±this value; 0.0 = no clamp (the soft-max is stable).',
        low=0,
    ),
}
STAGE_1 = {  # the attention score estimator
    'spex.normalize_values': Key(
        True, 'Normalise the value vectors to unit length, times one learned scalar.'
    ),
    'spex.temperature_decay': Key(
        0.99,
        'Temperature annealing: factor per epoch after the hold phase; 1.0 = no annealing.',
        low=0,
        high=1,
        low_open=True,
    ),
    'spex.temperature_min': Key(
        0.05,
        'Smallest temperature.',
        low=0,
        high=1,
        low_open=True,
        when={'train.mode': ('spexphormer_estimator',)},
    ),
    'spex.temperature_hold': Key(5, 'Epochs at temperature 1 before annealing starts.', low=0, most=10**6),
    'spex.select_after_hold': Key(False, 'Choose the best epoch only among those after the hold phase.'),
}
STAGE_2 = {  # Spexphormer
    'spex.estimator': Key(
        '', 'Stage-1 result folder: a name is looked up in out_dir, a path is taken as it is.', path=True
    ),
    'spex.estimator_seed': Key(
        -1,
        'Seed of the stage-1 run whose scores are used; -1 = the lowest of those on the same split.',
        low=-1,
        most=2**32 - 1,
    ),
    'spex.allow_fewer_layers': Key(False, 'Use the first gt.layers layers of an estimator that has more.'),
    'spex.score_layers': Key(
        [],
        'Layer of the estimator by whose scores each layer samples; the last entry serves all further '
        'layers. [] = each layer its own.',
        item=int,
        low=0,
        most=1000,
    ),
    'spex.layer_degrees': Key(
        [],
        'In-neighbours sampled per node in each layer; layer 0 is nearest the input. One entry serves all '
        'layers.',
        item=int,
        low=1,
        most=10**4,
    ),
    'spex.strategy': Key(
        'weighted',
        'How they are sampled: weighted (reservoir, by attention scores), uniform, or top (largest scores).',
        choices=STRATEGIES,
    ),
    'spex.resample': Key('epoch', 'New draws per epoch or per batch.', choices=('epoch', 'batch')),
    'spex.resample_every': Key(
        1, 'Number of epochs that share one draw (resample: epoch).', low=1, most=10**6
    ),
    'spex.fill': Key(
        'mask',
        'A node with fewer in-neighbours than asked for: mask its empty slots, or repeat draws to fill them.',
        choices=FILLS,
    ),
    'spex.eval_draws': Key(
        1,
        'Independent draws whose predictions are averaged when the chosen epoch is evaluated.',
        low=1,
        most=10**4,
    ),
}
KEYS = BOTH_STAGES | STAGE_1 | STAGE_2
