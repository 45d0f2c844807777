import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'graphgps_ext/__init__.py').read_text(encoding='utf-8'))

setup(
    name='graphgps_ext',
    version=VERSION[1],
    description='Spexphormer for GraphGym: two-stage training of sparse graph transformers',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='MIT',
    packages=[*find_packages(include=['graphgps_ext', 'graphgps_ext.*']), 'graphgps_ext.configs'],
    package_dir={'graphgps_ext.configs': 'configs'},  # inside the wheel, beside the package in the repository
    package_data={'graphgps_ext.configs': ['*/*.yaml']},
    entry_points={'console_scripts': ['graphgps-ext = graphgps_ext.commands:main']},
    python_requires='>=3.11,<3.13',
    install_requires=[
        'torch>=2.11',
        'torch-geometric>=2.8,<2.9',
        'yacs>=0.1.8',
        'lightning-fabric>=2.5',
        'tensorboard>=2.17',
        'ogb>=1.3.6',
        'numba>=0.61',
        'numpy>=2.0',
        'scipy>=1.13',
        'pandas>=2.2',  # read by the data sets of torch-geometric and ogb, and for aggregation
        'scikit-learn>=1.5',  # read by ogb
        'threadpoolctl>=3.5',
        'filelock>=3.15',
        'platformdirs>=4',
        'tqdm>=4.66',
        'matplotlib>=3.9',
        'tabulate>=0.9',  # Markdown tables of pandas
        'jinja2>=3.1',  # LaTeX tables of pandas
    ],
    extras_require={
        # Never needed: PyG's scatter uses it where it is installed. Needs torch at build time:
        # pip install torch-scatter --no-build-isolation
        'scatter': ['torch-scatter>=2.1.2'],
        # Writes results.parquet of a benchmark. Not required: pandas imports it wherever it is, which
        # adds 40 MB to the memory of every run.
        'benchmark': ['pyarrow>=18'],
        'tune': ['optuna>=5,<6'],  # searches
        'dev': [
            'optuna>=5,<6',
            'pyarrow>=18',
            'pytest>=8',
            'pytorch-lightning>=2.5',  # GraphGym's stock main needs it, which is to run our networks too
            'torchmetrics>=1.4',  # what the tests compare our metrics with
            'pytest-xdist>=3.6',
            'hypothesis>=6',
            'ruff>=0.9',
            'mypy>=1.14',
            'import-linter>=2.1',
            'pre-commit>=4',
            'triton>=3.6; platform_system == "Linux"',  # its interpreter runs the kernels on a CPU
        ],
    },
)
