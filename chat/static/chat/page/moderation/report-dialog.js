import {make} from "../shell/dom.js";
import {roomWords} from "../shell/room-words.js";
import {beginning, errorWords} from "../shell/words.js";

/** The dialog that tells the moderators of a message. */
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
