/** On pages without a chat: remove other users' data from the browser. */

import {openStore} from "../../client/store.js";
import {BrowserData} from "./browser-data.js";

const {you} = document.querySelector("script[data-you]").dataset;
// A page reached by the back button may come from the browser's cache and belong to a former user.
const [{type}] = performance.getEntriesByType("navigation");
if (type !== "back_forward") new BrowserData({you, store: openStore({owner: you})});
