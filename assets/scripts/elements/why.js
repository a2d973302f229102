let unfolded = [];
element.addEventListener('toggle', () => { unfolded = [...element.querySelectorAll('details')].map((fold) => fold.open); }, true);
watch('value', () => { element.querySelectorAll('details').forEach((fold, n) => { fold.open = Boolean(unfolded[n]); }); });
