/** Where the page begins. */
import { render } from '../vendor/preact.js';
import { html } from './html.js';
import { followLinks } from './place.js';
import { Shell } from './shell.js';
import './theme.js';

followLinks();
render(html`<${Shell} />`, /** @type {HTMLElement} */ (document.getElementById('page')));
