import {make} from "../shell/dom.js";
import {KINDS, ROLES, roomWords} from "../shell/room-words.js";
import {errorWords, shortTime} from "../shell/words.js";

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

/** Select a number of seconds, and add it to the list if it is missing. */
function offer(select, seconds) {
  if (![...select.options].some(({value}) => Number(value) === seconds)) {
    select.append(new Option(`${seconds} s`, seconds));
  }
  select.value = String(seconds);
}

/** Invitations: by a link, or by name. */
export class Invitations {
  #client;
  #room;
  #access;
  #attempt;
  #parts;

  constructor({client, room, access, attempt, ...parts}) {
    this.#client = client;
    this.#room = room;
    this.#access = access;
    this.#attempt = attempt;
    this.#parts = parts;
    parts.inviteMake.addEventListener("click", () => attempt(() => this.#makeLink()));
    parts.inviteCopy.addEventListener("click", () => attempt(() => this.#copy()));
    parts.inviteForm.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(() => this.#add());
    });
  }

  begin() {
    this.#parts.inviteLinkBox.hidden = true;
    this.#parts.inviteMake.hidden = false;
    this.#parts.inviteName.value = "";
  }

  draw() {
    this.#parts.invite.hidden = !this.#access.invites;
  }

  async #makeLink() {
    const {inviteLink, inviteLinkBox, inviteMake, inviteExpires, inviteCopy} = this.#parts;
    const {path, expires} = await this.#client.moderation.invite(this.#room);
    inviteLink.value = new URL(path, location.href).href;
    inviteExpires.textContent = roomWords.expires(shortTime(expires));
    inviteLinkBox.hidden = false;
    inviteMake.hidden = true;
    inviteCopy.focus();
  }

  async #copy() {
    const {inviteLink} = this.#parts;
    inviteLink.select();
    try {
      await navigator.clipboard.writeText(inviteLink.value);
      return roomWords.copied;
    } catch {
      return roomWords.copyYourself; // browsers allow it on secure pages only
    }
  }

  async #add() {
    const {inviteName} = this.#parts;
    const name = inviteName.value.trim();
    if (!name) return null;
    await this.#client.moderation.invite(this.#room, name);
    inviteName.value = "";
    return roomWords.invited(name);
  }
}

/** The users with a role in the room, and the muted and banned ones. Owners give roles here, moderators lift restrictions. */
export class MembersList {
  #client;
  #room;
  #access;
  #attempt;
  #parts;

  constructor({client, room, access, attempt, ...parts}) {
    this.#client = client;
    this.#room = room;
    this.#access = access;
    this.#attempt = attempt;
    this.#parts = parts;
  }

  load() {
    const {membersBox, restrictedBox} = this.#parts;
    membersBox.hidden = restrictedBox.hidden = true;
    return this.#attempt(() => this.#load());
  }

  async #load() {
    const {members, restricted = []} = await this.#client.moderation.members(this.#room);
    const {membersBox, membersList, restrictedBox, restrictedList} = this.#parts;
    membersList.replaceChildren(...members.map((member) => this.#member(member)));
    restrictedList.replaceChildren(...restricted.map((one) => this.#restriction(one)));
    membersBox.hidden = members.length === 0;
    restrictedBox.hidden = restricted.length === 0;
  }

  /** Run it, report it, and reload the lists. */
  #change(work, told) {
    return this.#attempt(async () => {
      await work();
      await this.#load();
      return told;
    });
  }

  #member({username, role}) {
    const changeable = this.#access.owns && this.#access.about.kind !== "direct";
    const shown = changeable ? this.#roles(username, role) : make("span", {className: "quiet"}, ROLES[role]);
    return make("li", {className: "member"}, make("bdi", {title: username}, username), shown);
  }

  #roles(username, role) {
    const names = ["owner", "moderator", "member"].map((name) => [name, ROLES[name]]);
    const options = [...names, ["none", roomWords.takeOut]].map(([value, words]) =>
      make("option", {value, selected: value === role}, words),
    );
    const select = make("select", {ariaLabel: roomWords.roleOf(username)}, ...options);
    select.addEventListener("change", () => this.#appoint(username, select, role));
    return select;
  }

  async #appoint(username, select, before) {
    const role = select.value;
    const told = role === "none" ? roomWords.ended(username) : roomWords.appointed(username, role);
    await this.#change(() => this.#client.moderation.setRole(this.#room, username, role), told);
    if (select.isConnected) select.value = before; // the server refused it
  }

  #restriction({username, kind, until, reason}) {
    const what = kind === "ban" ? roomWords.isBanned : roomWords.isMuted;
    const facts = [what, until === undefined ? roomWords.forGood : roomWords.until(shortTime(until)), reason];
    const properties = {type: "button", className: "small", ariaLabel: roomWords.liftFor(username, kind)};
    const button = make("button", properties, roomWords.lift);
    button.addEventListener("click", () => this.#lift(username, kind));
    const words = make("span", {className: "quiet"}, facts.filter(Boolean).join(" · "));
    return make("li", {className: "member"}, make("span", {}, make("bdi", {}, username), " ", words), button);
  }

  #lift(username, kind) {
    const {moderation} = this.#client;
    const told = kind === "ban" ? roomWords.unbanned(username) : roomWords.unmuted(username);
    const lift = () => moderation[kind === "ban" ? "unban" : "unmute"](this.#room, username);
    return this.#change(lift, told);
  }
}

/** The dialog about the room: its kind, its members, and the settings that the reader may change. */
export class AboutDialog {
  #access;
  #client;
  #room;
  #confirmDialog;
  #me;
  #leave;
  #parts;
  #sections;
  #members;

  /**
   * @param {object} options
   * @param {() => string} options.me
   * @param {() => void} options.leave called when the reader has left the room for good
   */
  constructor({client, room, access, confirmDialog, me, leave, ...parts}) {
    this.#client = client;
    this.#room = room;
    this.#access = access;
    this.#confirmDialog = confirmDialog;
    this.#me = me;
    this.#leave = leave;
    this.#parts = parts;
    const shared = {client, room, access, confirmDialog, attempt: (work) => this.#attempt(work)};
    this.#sections = [new RoomSettings({...shared, ...parts}), new Invitations({...shared, ...parts})];
    this.#members = new MembersList({...shared, ...parts});
    parts.aboutToggle.addEventListener("click", () => this.open());
    parts.aboutClose.addEventListener("click", () => parts.about.close());
    parts.aboutLeave.addEventListener("click", () => this.#end());
  }

  open() {
    this.#parts.aboutStatus.textContent = "";
    for (const section of this.#sections) section.begin();
    this.draw();
    this.#parts.about.showModal();
    this.#members.load();
  }

  /** The room or the reader's role has changed. */
  draw() {
    const {aboutKind, aboutRole, aboutLeave} = this.#parts;
    const {kind, role} = this.#access.about;
    aboutKind.textContent = KINDS[kind].sentence;
    aboutRole.textContent = this.#access.known && kind !== "direct" ? roomWords.you(role) : "";
    aboutLeave.hidden = !this.#access.leaves;
    for (const section of this.#sections) section.draw();
  }

  async #end() {
    const {sureToLeave: title, leaveHint: hint, reallyLeave: confirm} = roomWords;
    if (!(await this.#confirmDialog.ask({title, hint, confirm}))) return;
    await this.#attempt(async () => {
      await this.#client.moderation.setRole(this.#room, this.#me(), "none");
      this.#leave();
    });
  }

  /** Run it, and show its result in the dialog. */
  async #attempt(work) {
    const {aboutStatus} = this.#parts;
    try {
      aboutStatus.textContent = (await work()) ?? "";
      delete aboutStatus.dataset.failed;
    } catch (error) {
      aboutStatus.textContent = errorWords(error);
      aboutStatus.dataset.failed = "";
    }
  }
}
