import {roomWords} from "../shell/room-words.js";

/** The room's title and rules, for those who may change them. */
export class RoomSettings {
  #client;
  #room;
  #access;
  #confirmDialog;
  #attempt;
  #parts;

  constructor({client, room, access, confirmDialog, attempt, ...parts}) {
    this.#client = client;
    this.#room = room;
    this.#access = access;
    this.#confirmDialog = confirmDialog;
    this.#attempt = attempt;
    this.#parts = parts;
    parts.settings.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#attempt(() => this.#save());
    });
  }

  begin() {
    const {settingsTitle, settingsReadOnly, settingsSlow, settingsArchived} = this.#parts;
    const {title, readOnly, slow, archived} = this.#access.about;
    settingsTitle.value = title;
    settingsReadOnly.checked = readOnly;
    settingsArchived.checked = archived;
    offer(settingsSlow, slow);
  }

  draw() {
    const {settings, settingsTitleBox, settingsArchivedBox} = this.#parts;
    settings.hidden = !this.#access.moderates;
    settingsTitleBox.hidden = settingsArchivedBox.hidden = !this.#access.owns;
  }

  async #save() {
    const changed = this.#changed();
    if (changed.archived && !(await this.#sureToArchive())) return null;
    if (Object.keys(changed).length) await this.#client.moderation.configure(this.#room, changed);
    return roomWords.saved;
  }

  #changed() {
    const {settingsTitle, settingsReadOnly, settingsSlow, settingsArchived} = this.#parts;
    const {about, owns} = this.#access;
    const wanted = {readOnly: settingsReadOnly.checked, slow: Number(settingsSlow.value)};
    if (owns) Object.assign(wanted, {title: settingsTitle.value.trim(), archived: settingsArchived.checked});
    return Object.fromEntries(Object.entries(wanted).filter(([name, value]) => value !== about[name]));
  }

  #sureToArchive() {
    const {sureToArchive: title, archiveHint: hint, reallyArchive: confirm} = roomWords;
    return this.#confirmDialog.ask({title, hint, confirm});
  }
}

/** Choose a number of seconds that the list may not have. */
function offer(select, seconds) {
  if (![...select.options].some(({value}) => Number(value) === seconds)) {
    select.append(new Option(`${seconds} s`, seconds));
  }
  select.value = String(seconds);
}
