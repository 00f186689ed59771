"""The configuration as typed sections: the keys that a user may write, their values, and their defaults."""

from pidlab.config.schema.configuration import Config, RegressionConfig, config_class, editor_schema, json_schema
from pidlab.config.schema.data import ClassTable, PolygonSection
from pidlab.config.schema.evaluation import Evaluate, Flat, Map, RegressionEvaluate, Robustness
from pidlab.config.schema.features import BandFeature, Feature
from pidlab.config.schema.models.anomaly import AutoencoderModel, MixtureModel
from pidlab.config.schema.models.band import BandModel, sigma_names, sigma_point
from pidlab.config.schema.models.base import AnyModel, CategoryBins, TrainedModel
from pidlab.config.schema.models.classifiers import BdtModel, MlpModel, SklearnModel
from pidlab.config.schema.models.cuts import CutsModel, FigureOfMerit
from pidlab.config.schema.models.likelihood import LikelihoodModel
from pidlab.config.schema.models.regression import MlpRegression, Predicting, SklearnRegression, quantile_name
from pidlab.config.schema.models.unions import ModelSection, RegressionSection, TrainableSpec
from pidlab.config.schema.models.untrained import ExpressionModel, ImportedSpec, OnnxModel, ScoreModel, TmvaModel
from pidlab.config.schema.reweight import Reweight, ReweightTarget
from pidlab.config.schema.style import Style
