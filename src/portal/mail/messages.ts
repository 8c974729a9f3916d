import type { Mail } from "./mail.ts";

const FOOT = "\n\nIf you did not expect this mail, nothing has happened and you can delete it.\n";

export function resetPasswordMail(to: string, link: string): Mail {
  return {
    to,
    subject: "Set a new password",
    text: `Somebody asked to set a new password for your account. This link works once, for 30 minutes:\n\n${link}${FOOT}`,
  };
}

export function signUpMail(to: string, link: string): Mail {
  return {
    to,
    subject: "Finish your sign-up",
    text: `Choose a password to finish your sign-up. This link works once, for 30 minutes:\n\n${link}${FOOT}`,
  };
}

/** To somebody who has an account already: the page said the same to whoever typed the address. */
export function haveAccountMail(to: string, link: string): Mail {
  return {
    to,
    subject: "You have an account already",
    text: `Somebody, perhaps you, tried to sign up with this address. You have an account already; sign in here, or set a new password there:\n\n${link}${FOOT}`,
  };
}

export function verifyAddressMail(to: string, link: string): Mail {
  return {
    to,
    subject: "Confirm your address",
    text: `Open this link to confirm that this is your address. It works once, for 30 minutes:\n\n${link}${FOOT}`,
  };
}

export function passwordChangedMail(to: string, link: string): Mail {
  return {
    to,
    subject: "Your password was changed",
    text: `The password of your account was changed, and all its sessions were ended. Was it not you? Set a new one at once:\n\n${link}\n`,
  };
}

export function invitationMail(to: string, tenant: string, link: string): Mail {
  return {
    to,
    subject: `You are invited to ${tenant}`,
    text: `You are invited to join ${tenant}. This link works once, for 7 days, and for this address only:\n\n${link}${FOOT}`,
  };
}
