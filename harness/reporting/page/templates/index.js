makeTable("#ablations", "ablations", { filtered: true });
document.documentElement.dataset.ready = "yes";
