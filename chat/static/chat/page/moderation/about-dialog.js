import {Invitations} from "./inviting.js";
import {MembersList} from "./members-list.js";
import {KINDS, roomWords} from "../shell/room-words.js";
import {RoomSettings} from "./settings.js";
import {errorWords} from "../shell/words.js";

/** The dialog about the room: what it is, who belongs to it, and what the reader may change of that. */
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
   * @param {() => void} options.leave the reader is no member any more
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

  /** The room, or what the reader is in it, is another now. */
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

  /** Do it, and say in the dialog what came of it. */
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
