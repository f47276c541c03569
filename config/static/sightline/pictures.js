// Replaces a picture that cannot be loaded by the words beside it.
"use strict";

(() => {
    function replace(picture) {
        const words = picture.parentElement.querySelector("[hidden]");
        if (words) words.hidden = false;
        (picture.closest(".search-tile-posts a") ?? picture).remove();
    }

    // Errors of pictures do not bubble.
    document.addEventListener("error", (event) => {
        if (event.target instanceof HTMLImageElement && "mayFail" in event.target.dataset) replace(event.target);
    }, true);

    // Those that failed before this script ran.
    document.addEventListener("DOMContentLoaded", () => {
        for (const picture of document.querySelectorAll("img[data-may-fail]")) {
            if (picture.complete && picture.currentSrc && !picture.naturalWidth) replace(picture);
        }
    });
})();
