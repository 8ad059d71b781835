// The API's page: fetches the document, with a token where one is needed, and shows it. The token stays in this tab.
'use strict';

const dark = matchMedia('(prefers-color-scheme: dark)');
const paint = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', paint);
paint();

const form = document.getElementById('ask');
const field = document.getElementById('token');
const refusal = document.getElementById('refusal');
const kept = 'artel.token';

async function open(token) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch('/api/openapi.json', { headers });
  if (response.status === 401 || response.status === 403) {
    sessionStorage.removeItem(kept);
    refusal.textContent = token ? (await response.json()).detail : '';
    form.hidden = false;
    field.focus();
    return;
  }
  if (!response.ok) throw new Error(`/api/openapi.json answered ${response.status}`);
  const spec = await response.json();
  if (token) sessionStorage.setItem(kept, token);
  form.hidden = true;
  document.title = spec.info.title;
  const page = SwaggerUIBundle({
    spec,
    dom_id: '#page',
    deepLinking: true,
    docExpansion: 'list',
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: true,
    validatorUrl: null,
    onComplete: () => { if (token) page.preauthorizeApiKey('token', token); },
  });
}

const show = (token) => open(token).catch((error) => {
  refusal.textContent = `${error.message}; is the node running?`;
  form.hidden = false;
});
form.addEventListener('submit', (event) => { event.preventDefault(); show(field.value.trim()); });
show(sessionStorage.getItem(kept));
