// Shows the progress of a bulk act while it runs, and loads its page anew when it has ended.
"use strict";

const INTERVAL = 1000; // milliseconds between two looks
const progress = document.getElementById("progress");

async function look() {
    try {
        const answer = await fetch(progress.dataset.address, { headers: { Accept: "application/json" } });
        if (answer.ok) {
            const now = await answer.json();
            progress.querySelector("progress").value = now.seen;
            progress.querySelector("[data-outcome]").textContent = now.outcome;
            if (now.state !== "running") {
                window.location.reload();
                return;
            }
        }
    } catch {
        // The server cannot be reached for the moment; look again.
    }
    window.setTimeout(look, INTERVAL);
}

if (progress !== null && progress.dataset.state === "running") {
    window.setTimeout(look, INTERVAL);
}
