import {SendStateView} from "../composer/send-state.js";
import {RemovedView} from "../entrance/session-end.js";
import {elements, make} from "../shell/dom.js";
import {roomWords} from "../shell/room-words.js";
import {beginning, errorWords} from "../shell/words.js";
import {AboutDialog} from "./about-dialog.js";
import {ConfirmDialog} from "./confirm-dialog.js";
import {RoomAccess, RoomAccessView} from "./room-access.js";

/** Actions for other users: confirmed first if they are severe, and reported when done. */
export class PersonActions {
  #moderation;
  #client;
  #room;
  #access;
  #confirmDialog;
  #tell;
  #visit;

  /**
   * @param {object} options
   * @param {import("./confirm-dialog.js").ConfirmDialog} options.confirmDialog
   * @param {(sentence: string) => void} options.tell
   * @param {(room: string) => void} options.visit go to another room
   */
  constructor({client, room, access, confirmDialog, tell, visit}) {
    this.#client = client;
    this.#moderation = client.moderation;
    this.#room = room;
    this.#access = access;
    this.#confirmDialog = confirmDialog;
    this.#tell = tell;
    this.#visit = visit;
  }

  /** @param {string} act one of `access.actions` */
  async do(act, name) {
    try {
      const told = await this.#deeds[act](name);
      if (told) this.#tell(told);
    } catch (error) {
      this.#tell(errorWords(error));
    }
  }

  #deeds = {
    direct: async (name) => this.#visit((await this.#client.direct(name)).room),
    mute10: (name) => this.#mute(name, 600, "10 minutes"),
    mute60: (name) => this.#mute(name, 3_600, "an hour"),
    unmute: async (name) => {
      await this.#moderation.unmute(this.#room, name);
      return roomWords.unmuted(name);
    },
    kick: (name) => this.#kick(name),
    ban: (name) => this.#ban(name),
    moderator: (name) => this.#appoint(name, "moderator"),
    owner: (name) => this.#makeOwner(name),
  };

  async #mute(name, seconds, time) {
    await this.#moderation.mute(this.#room, name, {seconds});
    return roomWords.muted(name, time);
  }

  async #kick(name) {
    const hint = roomWords.kickHint(this.#access.about.kind);
    const {sureToKick, reallyKick: confirm} = roomWords;
    const address = this.#offerAddress(name);
    const decided = await this.#confirmDialog.ask({title: sureToKick(name), hint, confirm, reason: true, address});
    if (!decided) return null;
    await this.#moderation.kick(this.#room, name, {reason: decided.reason, address: decided.address});
    return roomWords.kicked(name);
  }

  async #ban(name) {
    const {sureToBan, banHint: hint, reallyBan: confirm} = roomWords;
    const question = {title: sureToBan(name), hint, confirm, length: true, reason: true};
    const decided = await this.#confirmDialog.ask({...question, address: this.#offerAddress(name)});
    if (!decided) return null;
    await this.#moderation.ban(this.#room, name, decided);
    return roomWords.banned(name);
  }

  /** The label about the address; null if it can't be restricted, or the server is older. */
  async #offerAddress(name) {
    try {
      const {restrictable, others, known = true} = await this.#moderation.sharing(this.#room, name);
      return restrictable ? roomWords.withAddress(others, known) : null;
    } catch {
      return null;
    }
  }

  async #makeOwner(name) {
    const {sureToMakeOwner, ownerHint: hint, reallyMakeOwner: confirm} = roomWords;
    const decided = await this.#confirmDialog.ask({title: sureToMakeOwner(name), hint, confirm});
    return decided && this.#appoint(name, "owner");
  }

  async #appoint(name, role) {
    await this.#moderation.setRole(this.#room, name, role);
    return roomWords.appointed(name, role);
  }
}

/** The dialog that reports a message to the moderators. */
export class ReportDialog {
  #moderation;
  #room;
  #tell;
  #parts;
  #message = null;

  /** @param {object} options report (a dialog), reportForm, reportText, reportReason, reportCancel; `tell` a sentence */
  constructor({client, room, tell, ...parts}) {
    this.#moderation = client.moderation;
    this.#room = room;
    this.#tell = tell;
    this.#parts = parts;
    parts.reportForm.addEventListener("submit", () => this.#send());
    parts.reportCancel.addEventListener("click", () => parts.report.close());
  }

  open(message) {
    const {report, reportText, reportReason} = this.#parts;
    this.#message = message;
    reportText.replaceChildren(make("bdi", {}, message.username), `: ${beginning(message)}`);
    reportReason.value = "";
    report.showModal();
  }

  async #send() {
    const reason = this.#parts.reportReason.value.trim();
    try {
      await this.#moderation.report(this.#room, this.#message.id, {reason});
      this.#tell(roomWords.reported);
    } catch (error) {
      this.#tell(errorWords(error));
    }
  }
}

/** The reader's rights in the room: as the server sends them, as the page shows them, and the actions that they allow. */
export class ModerationTools {
  out;
  #client;
  #room;
  #access;
  #views;
  #about;
  #people;
  #reportDialog;
  #onChange;

  /**
   * @param {object} options
   * @param {object} options.config the page's configuration
   * @param {() => string} options.me the reader's name
   * @param {(sentence: string) => void} options.tell
   * @param {(title: string) => void} options.titled called with the room's title, at first and after each change
   * @param {() => void} options.onChange called when the reader's rights have changed
   */
  constructor({client, config, composer, me, tell, titled, onChange}) {
    const {room, about, account, links} = config;
    this.#client = client;
    this.#room = room;
    this.#onChange = onChange;
    this.#access = new RoomAccess({about, account});
    const shared = {client, room, access: this.#access, tell};
    this.out = new RemovedView({
      page: document.querySelector(".room"),
      links,
      ...elements("out", "outTitle", "outHint", "outActions"),
    });
    this.#views = [
      new RoomAccessView({...shared, titled, ...elements("roomName", "badges")}),
      new SendStateView({...shared, composer, ...elements("speaking", "speakingSaid", "speakingShown")}),
    ];
    this.#compose(shared, {me, links});
    this.#listen(composer);
    this.#draw();
  }

  get moderates() {
    return this.#access.moderates;
  }

  get actions() {
    return this.#access.actions;
  }

  act(act, name) {
    this.#people.do(act, name);
  }

  report(message) {
    this.#reportDialog.open(message);
  }

  #compose(shared, {me, links}) {
    const confirmDialog = new ConfirmDialog(
      elements(
        ...["decide", "decideForm", "decideTitle", "decideHint", "decideDo", "decideCancel"],
        ...["decideLong", "decideLongBox", "decideReason", "decideReasonBox"],
        ...["decideAddress", "decideAddressBox", "decideAddressWords"],
      ),
    );
    const visit = (room) => location.assign(links.room.replace("room-name", room));
    this.#people = new PersonActions({...shared, confirmDialog, visit});
    this.#reportDialog = new ReportDialog({
      ...shared,
      ...elements("report", "reportForm", "reportText", "reportReason", "reportCancel"),
    });
    this.#about = new AboutDialog({
      ...shared,
      confirmDialog,
      me,
      leave: () => location.assign(links.index),
      ...elements(
        ...["about", "aboutToggle", "aboutClose", "aboutKind", "aboutRole", "aboutStatus", "aboutLeave"],
        ...["settings", "settingsTitle", "settingsTitleBox", "settingsReadOnly", "settingsSlow"],
        ...["settingsArchived", "settingsArchivedBox", "membersBox", "membersList", "restrictedBox", "restrictedList"],
        ...["invite", "inviteMake", "inviteLinkBox", "inviteLink", "inviteCopy", "inviteExpires"],
        ...["inviteForm", "inviteName"],
      ),
    });
  }

  #listen(composer) {
    for (const type of ["welcome", "room"]) {
      this.#client.addEventListener(type, ({detail}) => {
        if (detail.room !== this.#room) return;
        this.#access.received(detail);
        this.#draw();
        this.#onChange();
      });
    }
    this.#client.addEventListener("welcome", () => this.out.hide() && composer.focus());
  }

  /** The reader is no longer in the room: close all dialogs. */
  close() {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  }

  /** Whether only members may see the messages. */
  get secret() {
    return this.#access.about.kind !== "public";
  }

  #draw() {
    for (const view of this.#views) view.draw();
    this.#about.draw();
  }
}
