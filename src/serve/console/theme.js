// Runs before the first paint: applies the stored theme and language, so that nothing flashes.
(() => {
  const root = document.documentElement;
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem('tidegate.preferences') || '{}');
  } catch {
    // Storage may be blocked; the system's preferences hold then.
  }
  const dark = stored.theme === 'dark' || (stored.theme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  root.dataset.theme = dark ? 'dark' : 'light';
  root.lang = stored.language || ((navigator.language || 'en').toLowerCase().startsWith('ko') ? 'ko' : 'en');
})();
