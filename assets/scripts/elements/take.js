lsTaken(element);
element.addEventListener('click', async (event) => {
  const copy = event.target.closest('[data-copy]');
  if (copy) {
    const text = copy.dataset.copy === 'link' ? new URL('?' + copy.dataset.text, location.href).href : copy.dataset.text;
    await navigator.clipboard.writeText(text);
    copy.textContent = copy.dataset.done;
    copy.removeAttribute('aria-label');
  }
  const png = event.target.closest('[data-png]');
  if (png) {
    event.preventDefault();
    const image = new Image();
    image.src = element.querySelector('[download$=".svg"]').href;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = image.width * 2; canvas.height = image.height * 2;
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    const link = document.createElement('a');
    link.download = 'estimate.png'; link.href = canvas.toDataURL('image/png'); link.click();
  }
});
