"""Judgement of a fit in a few lines: convergence, overfitting, bias, outliers. LAMMPS is verified elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import ENERGY, Property
from fitsnap_nn.data.statistics import root_mean_square
from fitsnap_nn.errors import counted
from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.errors_table import ErrorRow
from fitsnap_nn.reports.linear import worse_than_linear
from fitsnap_nn.reports.loss_terms import negligible_terms
from fitsnap_nn.reports.results import Floats, Result, by_subset, in_the_fit, pairs
from fitsnap_nn.reports.spread import energy_spread
from fitsnap_nn.reports.suspects import suspect_labels
from fitsnap_nn.reports.worst import symbol_text, value_text, worst_results

NOTHING_TO_JUDGE = "nothing to judge"
# Share of the epochs at the end in which a converged loss does not fall any more, and how far it may. A loss that
# falls as 1/epoch falls by a tenth; with a cosine schedule the last epochs gain a few per cent at most.
LAST = 0.1
STILL_FALLING = 0.05
# A best epoch in this first share of the epochs, with a later loss above the best by this factor: the rest of the
# training was harmful, not only useless.
EARLY = 0.3
WORSE = 1.1
MIN_EPOCHS = 10  # fewer do not show whether a best epoch is early
# A fit that reduces its first loss by less has not learned anything, unless its errors are small from the start.
FELL = 0.1
# Training loss over its lowest value so far. The noise of small batches stays below 3. Adam at a large learning rate
# jumps by 10 to 20 and recovers as the rate decays, which is harmless unless it happens at the end.
SPIKE = 100.0
SPIKE_AT_END = 10.0
END = 0.25  # share of the epochs
# Error of unseen over error of training configurations. 1.5 is common for small data sets.
OVERFIT = 2.0
MIN_CONFIGURATIONS = 10  # below, the ratio of two errors is a matter of chance
# Mean signed energy error over the standard deviation about it, and over the standard error of the mean.
OFFSET = 1.0
SIGNIFICANT = 4.0
OTHER_REFERENCE = 10.0  # eV/atom, mean signed energy error above every cohesive energy
GROUP_FACTOR = 3.0  # error of a group over that of the others
NOTEWORTHY = 0.1  # share of the RMS of the labels below which a larger error of a group does not matter
LARGE = 0.5  # share of the RMS of the labels; predicting the element energies and no forces has the share 1
MAX_GROUPS = 3  # groups listed per property
LARGEST_ERRORS = "largest errors"
STABLER = "use balance = 1 or a larger batch_size"


@dataclass(frozen=True)
class Figures:
    """Errors of one property in one set, in its report unit.

    Attributes:
        rmse: root-mean-square error.
        share: RMSE over the RMS of the labels, energies without element energies; nan if these vanish.
        mean: mean signed error, model minus label.
        spread: standard deviation of the error about its mean.
        configurations: number of labelled configurations.
    """

    rmse: float
    share: float
    mean: float
    spread: float
    configurations: int


def verdict(
    history: Sequence[EpochRow],
    results: Sequence[Result],
    properties: Sequence[Property],
    num_epochs: int,
    early_stopping: int = 0,
    errors: Sequence[ErrorRow] = (),
    terms: Sequence[float] = (),
) -> list[str]:
    """Return the lines that judge a fit.

    Args:
        history: all epochs, those before a restart included; empty without training.
        results: predictions and labels of all sets.
        properties: properties of the fit.
        num_epochs: number of epochs asked for.
        early_stopping: epochs without improvement after which the fit stops; 0: none.
        errors: table of errors, with those of the linear model if there is one.
        terms: parts of the loss of the best epoch by property, if they are minimised as a sum.

    Returns:
        The first line has the figures. It is followed by one line per probable problem and by the configurations with
        the largest errors.
    """
    remarks = list(_remarks_on_training(history, results, properties, num_epochs))
    fitted = with_weight(results, properties)
    remarks += negligible_terms(terms, properties)
    remarks += worse_than_linear(errors, judged_set(in_the_fit(results), fitted), fitted)
    return _verdict(results, properties, remarks, _about_epochs(history, num_epochs, early_stopping))


def verdict_of_errors(
    results: Sequence[Result], properties: Sequence[Property], remarks: Sequence[str] = ()
) -> list[str]:
    """Return the lines that judge the errors of a model, without its training; none without labels.

    Args:
        results: predictions and labels of all sets.
        properties: properties of the model.
        remarks: other problems, which come first.
    """
    return _verdict(results, properties, [*remarks], "")


def _verdict(results: Sequence[Result], properties: Sequence[Property], remarks: list[str], epochs: str) -> list[str]:
    results, fitted = in_the_fit(results), with_weight(results, properties)
    subset = judged_set(results, fitted)
    if subset is None:
        return [f"verdict: {NOTHING_TO_JUDGE}, no configuration has labels{epochs}"]
    sets, spread = by_subset(results), element_spread(results)
    found = {one: _figures(one, sets[subset], spread) for one in fitted}
    shown = {one: figures for one, figures in found.items() if figures is not None}
    remarks += _large_errors(shown)
    remarks += _overfitting(shown, sets, subset, spread)
    remarks += _offset(shown)
    remarks += _bad_groups(sets[subset], shown, spread)
    remarks += suspect_labels(sets[Subset.TRAINING], fitted)
    listed = ", ".join(symbol_text(one, figures.rmse) for one, figures in shown.items())
    shares = ", ".join(_percent(figures.share) for figures in shown.values())
    name = subset.name.lower()
    opening = "no sign of a problem" if not remarks else counted(len(remarks), "remark")
    first = f"verdict: {opening}. RMSE of the {name} set: {listed}, which is {shares} of the RMS of the labels{epochs}"
    about = energy_spread(sets[subset], name)
    return [first, *(f"  {remark}" for remark in remarks), *about, *_worst(results, fitted)]


def judged_set(results: Sequence[Result], properties: Sequence[Property]) -> Subset | None:
    """Return the set by which a fit is judged: the least seen one that has labels; ``None`` without labels."""
    sets = by_subset(results)
    order = (Subset.TEST, Subset.VALIDATION, Subset.UNKNOWN, Subset.TRAINING)
    return next((one for one in order if any(pairs(quantity, sets[one]).labels for quantity in properties)), None)


def element_spread(results: Sequence[Result]) -> Mapping[str, float]:
    """Return the element energies (eV) that fit the energy labels of all sets by least squares, by symbol."""
    labelled = [one.configuration for one in results if one.configuration.energy is not None]
    elements = sorted({symbol for one in labelled for symbol in one.species})
    if not labelled:
        return {}
    counts = np.array([[one.species.count(symbol) / len(one) for symbol in elements] for one in labelled])
    energies = np.array([(one.energy or 0.0) / len(one) for one in labelled])
    return dict(zip(elements, np.linalg.lstsq(counts, energies, rcond=None)[0].tolist(), strict=True))


def with_weight(results: Sequence[Result], properties: Sequence[Property]) -> list[Property]:
    """Return the properties with a weight; the others were not fitted and are not judged."""
    return [one for one in properties if any(result.configuration.weight(one.name) > 0 for result in results)]


def _figures(quantity: Property, results: Sequence[Result], elements: Mapping[str, float]) -> Figures | None:
    model, target, count = pairs(quantity, results)
    if not count:
        return None
    error = model - target
    if quantity == ENERGY:
        members = [one.configuration for one in results if one.configuration.energy is not None]
        target = target - [sum(elements[symbol] for symbol in one.species) / len(one) for one in members]
    rmse, rms = root_mean_square(error), root_mean_square(target)
    labelled = sum(quantity.name in one.configuration.labels for one in results)
    noise = 1e-8  # as in the table of errors: labels that differ by rounding only
    return Figures(rmse, rmse / rms if rms > noise else math.nan, float(error.mean()), float(error.std()), labelled)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def _loss(row: EpochRow) -> float:
    return row.train_loss if math.isnan(row.validation_loss) else row.validation_loss


def _about_epochs(history: Sequence[EpochRow], num_epochs: int, early_stopping: int) -> str:
    if not history:
        return "; not trained"
    best, last = _best_epoch(history), history[-1].epoch
    text = f"; {_about_best(history)}"
    if early_stopping and last < num_epochs and last - best >= early_stopping:
        kind = "training" if math.isnan(history[-1].validation_loss) else "validation"
        text += (
            f". Stopped early, after epoch {last} of {num_epochs}: no lower {kind} loss in {early_stopping} epochs "
            "(early_stopping). To go on: --resume with a larger early_stopping"
        )
    return text


def _best_epoch(history: Sequence[EpochRow]) -> int:
    """Return the epoch whose weights are kept; 0 for initial weights that no epoch improved on."""
    return next((row.epoch for row in reversed(history) if row.best), 0)


def _about_best(history: Sequence[EpochRow]) -> str:
    best, last = _best_epoch(history), history[-1].epoch
    return f"best epoch {best} of {last}" if best else f"no epoch of {last} improved on the initial weights"


def _remarks_on_training(
    history: Sequence[EpochRow], results: Sequence[Result], properties: Sequence[Property], num_epochs: int
) -> Iterator[str]:
    if len(history) < 2:
        return
    losses = np.array([_loss(row) for row in history])
    best, last = min(history, key=lambda row: (_loss(row), row.epoch)), history[-1].epoch
    has_rate = not math.isnan(history[-1].learning_rate)
    count = max(1, int(LAST * len(losses)))
    before, after = losses[:-count].min(), losses[-count:].min()
    if _stalled(losses, results, properties):
        fall = 100 * (1 - losses.min() / losses[0])
        change = f"fell by {fall:.0f} %" if fall > 0 else "did not fall"
        yield (
            f"stalled: the loss {change} from {losses[0]:.3g} in {len(losses)} epochs. "
            f"Try {'another learning_rate' if has_rate else 'optimizer = Adam'}; check labels and weights"
        )
    elif last >= num_epochs and after < (1 - STILL_FALLING) * before:
        in_last = f"the last {count} epochs" if count > 1 else "the last epoch"
        yield (
            f"not converged: the loss still fell by {100 * (1 - after / before):.0f} % in {in_last} "
            f"({_about_best(history)}). Train longer: --resume with a larger num_epochs"
        )
    final = float(np.median(losses[-count:]))
    if len(losses) >= MIN_EPOCHS and best.epoch < EARLY * last and final > WORSE * losses.min():
        still_learning = history[-1].train_loss < best.train_loss
        unstable = "the learning_rate is too high" if has_rate else f"LKF is unstable: {STABLER}"
        cause = "the training loss fell further: overfitting" if still_learning else unstable
        kept = f"The weights of epoch {_best_epoch(history)}" if _best_epoch(history) else "The initial weights"
        yield (
            f"lowest loss early: epoch {best.epoch} of {last}; it ended {final / losses.min():.2g} times as high. "
            f"Probably {cause}. {kept} are kept"
        )
    yield from _spikes(history)


def _stalled(losses: Floats, results: Sequence[Result], properties: Sequence[Property]) -> bool:
    if losses.min() < (1 - FELL) * losses[0]:
        return False
    spread = element_spread(results)
    figures = [_figures(one, results, spread) for one in with_weight(results, properties)]
    return any(one is not None and one.share > NOTEWORTHY for one in figures)


def _spikes(history: Sequence[EpochRow]) -> Iterator[str]:
    losses = np.array([row.train_loss for row in history])
    ratio = losses[1:] / np.minimum.accumulate(losses)[:-1]
    limit = np.where(np.arange(1, len(losses)) >= (1 - END) * len(losses), SPIKE_AT_END, SPIKE)
    count, worst = int((ratio > limit).sum()), int((ratio / limit).argmax())
    if count:
        has_rate = not math.isnan(history[-1].learning_rate)
        remedy = "Lower learning_rate, or set gradient_clip" if has_rate else f"For LKF {STABLER}"
        yield (
            f"unstable: in {count} of {len(history)} epochs the training loss jumped to more than "
            f"{limit[worst]:.0f} times its lowest value before (epoch {history[worst + 1].epoch}: {ratio[worst]:.3g} "
            f"times). {remedy}"
        )


def _large_errors(shown: Mapping[Property, Figures]) -> Iterator[str]:
    large = [f"{one.title.lower()} {_percent(found.share)}" for one, found in shown.items() if found.share > LARGE]
    if large:
        yield (
            f"large errors: {', '.join(large)} of the RMS of the labels (energies without element energies); a model "
            "that has learned nothing has 100 %"
        )


def _overfitting(
    shown: Mapping[Property, Figures],
    sets: Mapping[Subset, Sequence[Result]],
    subset: Subset,
    spread: Mapping[str, float],
) -> Iterator[str]:
    if subset not in (Subset.VALIDATION, Subset.TEST):
        return
    parts = []
    for quantity, unseen in shown.items():
        seen = _figures(quantity, sets[Subset.TRAINING], spread)
        if seen is None or min(seen.configurations, unseen.configurations) < MIN_CONFIGURATIONS:
            continue
        if unseen.rmse > OVERFIT * seen.rmse and unseen.share > NOTEWORTHY / 10:
            ratio = f"{unseen.rmse / seen.rmse:.2g} times" if seen.rmse else "above"
            parts.append(
                f"{symbol_text(quantity, unseen.rmse)}, {ratio} that of training ({symbol_text(quantity, seen.rmse)})"
            )
    if parts:
        yield (
            f"overfitted: RMSE of the {subset.name.lower()} set {'; '.join(parts)}. More data, a smaller network or "
            "weight_decay; check that both sets are of the same kind"
        )


def _offset(shown: Mapping[Property, Figures]) -> Iterator[str]:
    found = shown.get(ENERGY)
    if found is not None and abs(found.mean) > max(OTHER_REFERENCE, found.spread):
        yield (
            f"another energy reference: energies differ by {value_text(ENERGY, abs(found.mean))} on average, more than "
            "any binding energy. Labels and model are of different methods or units"
        )
        return
    if found is None or found.configurations < MIN_CONFIGURATIONS:
        return
    error_of_mean = found.spread / math.sqrt(found.configurations)
    if abs(found.mean) > max(OFFSET * found.spread, SIGNIFICANT * error_of_mean) and found.share > NOTEWORTHY / 10:
        yield (
            f"constant offset: energies are {'high' if found.mean > 0 else 'low'} by "
            f"{value_text(ENERGY, abs(found.mean))} on average, with a spread of {value_text(ENERGY, found.spread)}. "
            "Increase eweight; check element energies, and that all data are of one method"
        )


def _bad_groups(results: Sequence[Result], shown: Mapping[Property, Figures], spread: Mapping[str, float]) -> list[str]:
    groups = dict.fromkeys(one.configuration.group for one in results)
    remarks = []
    for quantity, overall in shown.items():
        bad = []
        for group in groups:
            own = _figures(quantity, [one for one in results if one.configuration.group == group], spread)
            others = _figures(quantity, [one for one in results if one.configuration.group != group], spread)
            if own is None or others is None or own.rmse <= GROUP_FACTOR * others.rmse:
                continue
            # The energies of a group can differ little from each other; those of the whole set are the measure.
            share = own.rmse / overall.rmse * overall.share if quantity == ENERGY else own.share
            if share > NOTEWORTHY:
                bad.append((own.rmse, group))
        if bad:
            listed = ", ".join(
                f"{group} {value_text(quantity, rmse)}" for rmse, group in sorted(bad)[::-1][:MAX_GROUPS]
            )
            more = f" and {len(bad) - MAX_GROUPS} more" if len(bad) > MAX_GROUPS else ""
            remarks.append(
                f"worst groups: {listed}{more}: more than {GROUP_FACTOR:.0f} times the {quantity.title.lower()} error "
                "of all others. Check their labels, increase their weights, or add data"
            )
    return remarks


def _worst(results: Sequence[Result], properties: Sequence[Property]) -> list[str]:
    """Return the configurations with the largest errors relative to the RMSE over all sets."""
    lines = [
        f"    {one.result.configuration.id} ({one.result.configuration.subset.value}): {', '.join(one.texts)}"
        for one in worst_results(results, properties)
    ]
    return [f"  {LARGEST_ERRORS} (relative to the RMSE over all sets):", *lines] if lines else []
