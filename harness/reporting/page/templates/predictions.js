makeTable("#predictions", "predictions", { filtered: true });
document.documentElement.dataset.ready = "yes";
