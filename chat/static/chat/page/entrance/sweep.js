/** On pages without a chat: what the browser keeps of others than the page's person is removed. */

import {openStore} from "../../client/store.js";
import {BrowserData} from "./browser-data.js";

const {you} = document.querySelector("script[data-you]").dataset;
// A page that one goes back to may come from the browser's cache, and be of somebody who is gone.
const [{type}] = performance.getEntriesByType("navigation");
if (type !== "back_forward") new BrowserData({you, store: openStore({owner: you})});
