/** Times in the words of the page's language. */

const language = document.documentElement.lang || "en";
/** The page's language, with the reader's own country for it: that decides between 14:05 and 2:05 PM. */
const locale = navigator.languages?.find((tag) => tag.split("-")[0] === language) ?? language;
const clock = new Intl.DateTimeFormat(locale, {hour: "numeric", minute: "2-digit"});
const whole = new Intl.DateTimeFormat(locale, {dateStyle: "full", timeStyle: "medium"});
const day = new Intl.DateTimeFormat(locale, {weekday: "long", day: "numeric", month: "long", year: "numeric"});
const short = new Intl.DateTimeFormat(locale, {dateStyle: "medium", timeStyle: "short"});

/** "14:05" */
export const clockTime = (timestamp) => clock.format(timestamp);
/** "Saturday, 22 November 2025 at 14:05:09" */
export const wholeTime = (timestamp) => whole.format(timestamp);
/** "Saturday, 22 November 2025" */
export const dayName = (timestamp) => day.format(timestamp);
/** "22 Nov 2025, 14:05" */
export const shortTime = (timestamp) => short.format(timestamp);
