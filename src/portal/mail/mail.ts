/** A mail to one person, plain text: nothing in it is fetched, and every reader shows the whole link. */
export interface Mail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

/** Hands a mail over; rejects when nobody took it. Errors say neither the address nor the text. */
export type SendMail = (mail: Mail) => Promise<void>;
