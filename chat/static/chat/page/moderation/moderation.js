import {AboutDialog} from "./about-dialog.js";
import {ConfirmDialog} from "./confirm-dialog.js";
import {elements} from "../shell/dom.js";
import {RemovedView} from "../entrance/removed-view.js";
import {PersonActions} from "./person-actions.js";
import {ReportDialog} from "./report-dialog.js";
import {SendStateView} from "../composer/send-state-view.js";
import {RoomAccess} from "./room-access.js";
import {RoomAccessView} from "./room-access-view.js";

/** Who may do what in the room: what the server tells of it, what the page shows of it, and what one can do with it. */
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
   * @param {object} options.config of the page
   * @param {() => string} options.me the reader's name
   * @param {(sentence: string) => void} options.tell
   * @param {(title: string) => void} options.titled the room's title, at first and whenever it may be another
   * @param {() => void} options.onChange what the reader may do is another now
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
        this.#access.heard(detail);
        this.#draw();
        this.#onChange();
      });
    }
    this.#client.addEventListener("welcome", () => this.out.hide() && composer.focus());
  }

  /** The reader is out: nothing of this can be done any more. */
  close() {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  }

  /** Is what was said here for nobody else's eyes? */
  get secret() {
    return this.#access.about.kind !== "public";
  }

  #draw() {
    for (const view of this.#views) view.draw();
    this.#about.draw();
  }
}
