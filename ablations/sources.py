"""What five published notebooks state, held against the shipped ablations that repeat them.

Only what their texts say: a figure that stands in a picture alone is named as such. What a text calls much or most
without a figure is read as the protocol of the claim says.
"""

from collections.abc import Mapping

from ablations.claim import Claim

_KMNIST = "KMNIST notebook"
_TRANSFER = "CIFAR-10 transfer notebook"
_FACTORS = "MNIST and Fashion-MNIST notebook"
_COMPARISON = "CIFAR-10 comparison"
_DENSE = "Fashion-MNIST dense net"
_CNN = "CIFAR-10 CNN post"
_IN_PICTURES = "shown in pictures; the text has no figures"
_REASONS = "reasons without figures, and no cell here has another choice"
_OURS = "the tolerance is this audit's"
_NO_CLASS_COUNTS = "records keep the classes of test images alone"


def _counts(source: str, labels: Mapping[str, str], protocol: str = "", **figures: int) -> tuple[Claim, ...]:
    return tuple(Claim(source, metric, value, labels=labels, protocol=protocol) for metric, value in figures.items())


def _layers(source: str, labels: Mapping[str, str], metric: str, protocol: str = "", **figures: int
            ) -> tuple[Claim, ...]:
    return tuple(Claim(source, metric, value, labels=labels, of=(layer,), protocol=protocol)
                 for layer, value in figures.items())


def lowest_test_error(settings: str) -> Claim:
    """Names a search of the notebook on MNIST and Fashion-MNIST, of which its text tells no outcome."""
    return Claim(_FACTORS, f"{settings} with the lowest test error",
                 unaudited="neither the winner nor its error is in the text",
                 protocol="chosen by test error; the code shown, of the last networks, takes the maximum over epochs "
                          "of test accuracy and leaves pixels at 0 to 255")


KMNIST_MLP = (
    Claim(_KMNIST, "test_accuracy", 0.96, "at_least", labels={"dropout": "0"},
          protocol='"consistently above 96 %"; widths, optimizer and epochs not given'),
    *_counts(_KMNIST, {"units": "128", "dropout": "0"}, images=70_000, numbers_per_image=784, classes=10),
    Claim(_KMNIST, "confusion matrix, predictions beside true labels", unaudited=_IN_PICTURES),
)

KMNIST_SPLIT = tuple(
    Claim(_KMNIST, metric, 0.96, kind, labels={"held out": "12000"},
          protocol=f'"consistently above 96 %", read as {reading} {split}')
    for metric, split, kind, reading in (
        ("test_accuracy", "on the official test set", "at_least", "the mean"),
        ("validation_accuracy", "on a random fifth of the training set", "at_least", "the mean"),
        ("validation_accuracy", "on a random fifth of the training set", "each_at_least", "every run")))

_HEAD = {"head": "three dense"}

CIFAR10_TRANSFER = (
    Claim(_TRANSFER, "test_accuracy", 0.87, within=0.01, labels=_HEAD,
          protocol="around 87 %, stopped after 16 of 30 epochs; resolution, units, rates and validation images are not "
                   f"given, and the weights used here are not proven to be Keras's own; {_OURS}"),
    Claim(_TRANSFER, "epochs_trained", 16, within=3.0, labels=_HEAD,
          protocol="one run; where it stops varies with the seed, so 3 either way count as about 16; units, learning "
                   "rate and validation images are not given"),
    Claim(_TRANSFER, "epochs_trained", 29, "at_most", labels=_HEAD,
          protocol="early stopping ended training before the 30 epochs set"),
    *_counts(_TRANSFER, {"resolution": "96", **_HEAD}, images=60_000, training_images=50_000,
             test_images=10_000, numbers_per_image=3_072, classes=10),
    Claim(_TRANSFER, "images of each class", 6_000, unaudited=_NO_CLASS_COUNTS),
    Claim(_TRANSFER, "pictures upsized to what MobileNetV2 asks for", unaudited="no size is given",
          protocol="Keras's weights are for 96, 128, 160, 192 and 224 pixels"),
    Claim(_TRANSFER, "loss by epoch", unaudited=_IN_PICTURES),
    Claim(_TRANSFER, "batch size: 32 balances memory, time and accuracy", unaudited=_REASONS),
)

FASHION_REGULARIZATION = (
    *(Claim(_FACTORS, "test_accuracy", 0.0, "at_least", state="best_validation",
            labels={"regularizer": "batch_norm+dropout"}, over={"regularizer": other}, protocol=protocol)
      for other, protocol in (
          ("none", "compared with a naive network that is not described; no figures"),
          *((other, "called optimal, and compared with the naive network alone; no figures")
            for other in ("batch_norm", "dropout", "l2")))),
    lowest_test_error("kind of regularization"),
    Claim(_FACTORS, "maximum of test accuracy over 20 epochs, of each network",
          unaudited="the test set is read here at the best validation epoch and the last alone",
          protocol="printed by the code shown, whose validation set is the test set; the text has no figures"),
    Claim(_FACTORS, "scores on pixels from 0 to 255", unaudited="all runs here scale pixels to 0 to 1",
          protocol="as the code shown leaves them"),
    Claim(_FACTORS, "accuracy and loss by epoch, of each network", unaudited=_IN_PICTURES),
)

CIFAR10_MLP_VS_CNN = (
    *(Claim(_COMPARISON, metric, 0.0, "at_least", state=state, labels={"network": "cnn"}, over={"network": "mlp"},
            protocol="much better after as many epochs; figures are in pictures, so that the sign alone is judged"
                     + ("; the source's scores are the last epoch's" if state == "best_validation" else ""))
      for metric, state in (("test_accuracy", "last"), ("macro_precision", "best_validation"),
                            ("macro_recall", "best_validation"), ("macro_f1", "best_validation"))),
    Claim(_COMPARISON, "predicted_count_deviation", 0.1, "at_least", state="best_validation",
          labels={"network": "mlp"},
          protocol="high variation around 1,000, no figure: a tenth or more counts as high; the source's predictions "
                   "are the last epoch's"),
    *_counts(_COMPARISON, {"network": "mlp"}, training_images=50_000, test_images=10_000, smallest_test_class=1_000,
             numbers_per_image=3_072, classes=10),
    Claim(_COMPARISON, "accuracy, precision, recall, F1, predicted counts of each network", unaudited=_IN_PICTURES,
          protocol="called low for the dense net"),
    Claim(_COMPARISON, "layers and parameters of each network", unaudited=_IN_PICTURES,
          protocol="but for 4,000 hidden units in two layers, which share them equally here, and two blocks of "
                   "convolution and pooling before dense layers"),
    Claim(_COMPARISON, "CIFAR-100 is more challenging",
          unaudited="an expectation, no result; cifar100_mlp_vs_cnn trains these networks on it"),
)

_DROPOUT = {"dropout": "0.1"}
_BYTES = "stated in bytes, one per number"

DEPTH = Claim(_DENSE, "test_accuracy", 0.0, "at_most", labels={"layers": "3"}, over={"layers": "2"},
              protocol="two hidden layers are called enough, more may overfit; no figure")
ADAM = Claim(_DENSE, "test_accuracy", 0.0, "at_least", labels={"optimizer": "adam", "learning_rate": "0.001"},
             over={"optimizer": "sgd", "learning_rate": "0.01"},
             protocol="Adam is called faster in many cases; read as accuracy after as many epochs, at Keras's rates")

FASHION_MLP = (
    *_counts(_DENSE, _DROPOUT, "two dropouts of rates not given", parameters=235_146),
    *_layers(_DENSE, _DROPOUT, "layer_parameters", dense_1=200_960, dense_3=32_896, dense_5=1_290),
    *_layers(_DENSE, _DROPOUT, "layer_held", _BYTES, dense_1=133_120, dense_3=49_152, dense_5=17_664),
    *_counts(_DENSE, _DROPOUT, _BYTES, activations_held=199_936, pixels_held=47_040_000),
    *_counts(_DENSE, _DROPOUT, "counted as one byte per number, without gradients and optimizer",
             numbers_held=47_475_082),
    *_counts(_DENSE, _DROPOUT, f"{_BYTES}; float32 takes four", parameters_bytes=235_146),
    *(Claim(_DENSE, metric, 47_475_082, within=4_747_508, labels=_DROPOUT,
            protocol=f"the same figure, read as the bytes that training takes{what}; a tenth off still counts: {_OURS}")
      for metric, what in (("memory_estimate_bytes", ", against an estimate without the data"),
                           ("compiled_bytes", ""), ("measured_peak_bytes", ""))),
    *_counts(_DENSE, _DROPOUT, training_images=60_000, numbers_per_image=784, classes=10),
    Claim(_DENSE, "test_accuracy", 0.0, "at_least", over={"dropout": "0"},
          protocol="dropout is said to improve generalization, in general and without a figure; rates not given"),
    Claim(_DENSE, "dropout prevents overfitting",
          unaudited="training accuracy is recorded with dropout on, which alone brings it nearer to test accuracy"),
    Claim(_DENSE, "accuracy and loss by epoch, heat map of the initial weights", unaudited=_IN_PICTURES),
    Claim(_DENSE, "the range of the initial weights differs by layer",
          unaudited="records keep the initial weights of the first layer alone", protocol="Glorot uniform, as here"),
    Claim(_DENSE, "two hidden layers of 256 and 128 units, batch 128, 20 epochs and Adam suit the data",
          unaudited=_REASONS, protocol="among them: half the units in the second layer reduce overfitting, and very "
                                       "small batches would increase performance and time"),
)

_POST = {"dropout": "0.3"}
_SWAPPED = "; the post's list of classes has dog and deer in each other's place, so its dog/horse may be deer/horse"

CIFAR10_CNN = (
    *_counts(_CNN, _POST, parameters=4_200_842, trainable_parameters=4_200_842),
    *_layers(_CNN, _POST, "layer_parameters", conv_1=896, dense_3=4_194_816, dense_5=5_130),
    *_layers(_CNN, _POST, "layer_outputs", conv_1=32_768, max_pool_2=8_192, dense_3=512, dropout_4=512, dense_5=10),
    Claim(_CNN, "train_accuracy", 0.8848, within=0.01, labels=_POST,
          protocol="called the accuracy of the model, beside training; epoch, optimizer, rate and scaling not given; "
                   f"{_OURS}"),
    Claim(_CNN, "test_accuracy", 0.6939, within=0.01, labels=_POST,
          protocol=f"one run, 30 epochs; optimizer, rate and scaling not given; {_OURS}"),
    *(Claim(_CNN, "confusion_share", 0.5, "at_least", state="best_validation", labels=_POST,
            of=("airplane", "bird", animal, "horse"),
            protocol=f"most mispredictions, read as half or more, after the last epoch{_SWAPPED}")
      for animal in ("dog", "deer")),
    *(Claim(_CNN, "confusion_rank", 2, "at_most", state="best_validation", labels=_POST, of=pair,
            protocol=f"most mispredictions, read as the two pairs with the most, after the last epoch{note}")
      for pair, note in ((("airplane", "bird"), ""), (("dog", "horse"), _SWAPPED), (("deer", "horse"), _SWAPPED))),
    *_counts(_CNN, _POST, images=60_000, test_images=10_000, classes=10),
    Claim(_CNN, "images of each class", 6_000, unaudited=_NO_CLASS_COUNTS),
    Claim(_CNN, "test_accuracy", 0.0, "at_least", labels=_POST, over={"dropout": "0"},
          protocol="dropout is said to make the model more reliable, read as test accuracy; no figure"),
    Claim(_CNN, "ReLU is the best activation tried",
          unaudited="the others are not named, and no cell here has another"),
    Claim(_CNN, "accuracy and loss by epoch, mispredicted images", unaudited=_IN_PICTURES),
)
