makeTable("#ablations", "ablations");
document.documentElement.dataset.ready = "yes";
