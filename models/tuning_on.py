"""Training on what was trained already: a network that was made smaller gets back what it lost."""

import numpy as np
from torch import nn
from torch.nn.utils import parametrize

from models.augment import Sample
from models.dataset import Picture, truth_mask, truth_of
from models.metrics import balanced_accuracy, confusion
from models.train import classifier_losses, predict
from models.train_segmenter import EXACT, count_pixels, label_weights, segmenter_losses
from models.training import Losses, Recipe, Row, fit, tensor_of
from models.zoo import Network


def tune_on(
    network: Network, module: nn.Module, training: list[Picture], held_out: list[Picture], recipe: Recipe
) -> tuple[Row, nn.Module, list[Row]]:
    """Train on, whatever the task.

    Args:
        network: what the module is.
        module: with weights; used up. What is parametrised stays so meanwhile.
        training: pictures to learn from.
        held_out: pictures to measure on, without influence on the training.
        recipe: how.

    Returns:
        The figures before, the network in evaluation mode, and a row of figures for each epoch.
    """
    pictures = tensor_of(held_out, network.spec)
    segments = network.kind.task == "segmentation"
    masks = [truth_mask(picture, network.spec, network.labels) for picture in held_out] if segments else []
    truth = truth_of(held_out, network.labels)
    weights = label_weights(network, training) if segments else None

    def losses(one: nn.Module, samples: list[Sample], _done: float) -> Losses:
        if weights is not None:
            return segmenter_losses(network, one, samples, weights**EXACT)
        return classifier_losses(network, one, samples, recipe.label_smoothing)

    def measure(one: nn.Module) -> Row:
        if segments:
            return {"mean_iou": count_pixels(network, one, pictures, masks).mean_iou}
        answers = predict(network, one, pictures)
        return {"balanced_accuracy": balanced_accuracy(confusion(truth, np.asarray(answers), len(network.labels)))}

    before = measure(module.eval())
    tuned, history = fit(network, module, training, recipe, losses, measure)
    for layer in tuned.modules():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return before, tuned, history
