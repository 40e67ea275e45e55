/** Addresses of things, and links to them. */
import { html } from '../vendor/preact.js';
import { address } from './router.js';

export const target = {
  query: id => address(['query', id]),
  source: name => address(['source', name]),
  topic: (name, params) => address(['topic', name], params),
  graph: (at, depth = 2) => address(['graph'], { at, depth }),
};

export const Query = ({ id }) => html`<a href=${target.query(id)}>${id}</a>`;
export const Source = ({ name }) => html`<a href=${target.source(name)}>${name}</a>`;
export const Topic = ({ name }) => html`<a href=${target.topic(name)}>${name}</a>`;

/** Names one after the other, each a link; a dash if there are none. */
export const Names = ({ names, link: Link, prop = 'name' }) => (names?.length > 0 ? html`<span class="names">${names.map(name => html`<${Link} key=${name} ...${{ [prop]: name }} />`)}</span>` : '–');
