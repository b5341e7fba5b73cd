/**
 * The built-in templates of mails and pages, by the file names that Synapse has for them, so that an operator's own ones
 * take their places. To add one, put it into `templates/` and list it here. @data-table
 */
import baseHtml from "./templates/_base.html" with { type: "text" };
import mailHtml from "./templates/_mail.html" with { type: "text" };
import accountPreviouslyRenewedHtml from "./templates/account_previously_renewed.html" with { type: "text" };
import accountRenewedHtml from "./templates/account_renewed.html" with { type: "text" };
import addThreepidHtml from "./templates/add_threepid.html" with { type: "text" };
import addThreepidTxt from "./templates/add_threepid.txt" with { type: "text" };
import addThreepidFailureHtml from "./templates/add_threepid_failure.html" with { type: "text" };
import addThreepidSuccessHtml from "./templates/add_threepid_success.html" with { type: "text" };
import alreadyInUseHtml from "./templates/already_in_use.html" with { type: "text" };
import alreadyInUseTxt from "./templates/already_in_use.txt" with { type: "text" };
import authDoneInc from "./templates/auth_done.inc" with { type: "text" };
import authDummyHtml from "./templates/auth_dummy.html" with { type: "text" };
import authEmailHtml from "./templates/auth_email.html" with { type: "text" };
import authPasswordHtml from "./templates/auth_password.html" with { type: "text" };
import authSuccessHtml from "./templates/auth_success.html" with { type: "text" };
import consentSuccessHtml from "./templates/consent_success.html" with { type: "text" };
import invalidTokenHtml from "./templates/invalid_token.html" with { type: "text" };
import loginHtml from "./templates/login.html" with { type: "text" };
import loginDoneInc from "./templates/login_done.inc" with { type: "text" };
import loginSuccessHtml from "./templates/login_success.html" with { type: "text" };
import mailCss from "./templates/mail.css" with { type: "text" };
import mediaUploadLimitExceededHtml from "./templates/media_upload_limit_exceeded.html" with { type: "text" };
import noticeExpiryHtml from "./templates/notice_expiry.html" with { type: "text" };
import noticeExpiryTxt from "./templates/notice_expiry.txt" with { type: "text" };
import notifHtml from "./templates/notif.html" with { type: "text" };
import notifTxt from "./templates/notif.txt" with { type: "text" };
import notifMailHtml from "./templates/notif_mail.html" with { type: "text" };
import notifMailTxt from "./templates/notif_mail.txt" with { type: "text" };
import passwordResetHtml from "./templates/password_reset.html" with { type: "text" };
import passwordResetTxt from "./templates/password_reset.txt" with { type: "text" };
import passwordResetConfirmationHtml from "./templates/password_reset_confirmation.html" with { type: "text" };
import passwordResetFailureHtml from "./templates/password_reset_failure.html" with { type: "text" };
import passwordResetSuccessHtml from "./templates/password_reset_success.html" with { type: "text" };
import recaptchaHtml from "./templates/recaptcha.html" with { type: "text" };
import registrationHtml from "./templates/registration.html" with { type: "text" };
import registrationTxt from "./templates/registration.txt" with { type: "text" };
import registrationFailureHtml from "./templates/registration_failure.html" with { type: "text" };
import registrationSuccessHtml from "./templates/registration_success.html" with { type: "text" };
import registrationTokenHtml from "./templates/registration_token.html" with { type: "text" };
import roomHtml from "./templates/room.html" with { type: "text" };
import roomTxt from "./templates/room.txt" with { type: "text" };
import ssoCss from "./templates/sso.css" with { type: "text" };
import ssoAccountDeactivatedHtml from "./templates/sso_account_deactivated.html" with { type: "text" };
import ssoAuthAccountDetailsHtml from "./templates/sso_auth_account_details.html" with { type: "text" };
import ssoAuthAccountDetailsJs from "./templates/sso_auth_account_details.js" with { type: "text" };
import ssoAuthBadUserHtml from "./templates/sso_auth_bad_user.html" with { type: "text" };
import ssoAuthConfirmHtml from "./templates/sso_auth_confirm.html" with { type: "text" };
import ssoAuthSuccessHtml from "./templates/sso_auth_success.html" with { type: "text" };
import ssoErrorHtml from "./templates/sso_error.html" with { type: "text" };
import ssoFooterHtml from "./templates/sso_footer.html" with { type: "text" };
import ssoLoginIdpPickerHtml from "./templates/sso_login_idp_picker.html" with { type: "text" };
import ssoNewUserConsentHtml from "./templates/sso_new_user_consent.html" with { type: "text" };
import ssoPartialProfileHtml from "./templates/sso_partial_profile.html" with { type: "text" };
import ssoRedirectConfirmHtml from "./templates/sso_redirect_confirm.html" with { type: "text" };
import styleCss from "./templates/style.css" with { type: "text" };
import termsHtml from "./templates/terms.html" with { type: "text" };
import unsubscribeHtml from "./templates/unsubscribe.html" with { type: "text" };
import unsubscribeConfirmationHtml from "./templates/unsubscribe_confirmation.html" with { type: "text" };

/** The text of each template by its name. Sorted. */
export const TEMPLATE_FILES: Readonly<Record<string, string>> = {
  "_base.html": baseHtml,
  "_mail.html": mailHtml,
  "account_previously_renewed.html": accountPreviouslyRenewedHtml,
  "account_renewed.html": accountRenewedHtml,
  "add_threepid.html": addThreepidHtml,
  "add_threepid.txt": addThreepidTxt,
  "add_threepid_failure.html": addThreepidFailureHtml,
  "add_threepid_success.html": addThreepidSuccessHtml,
  "already_in_use.html": alreadyInUseHtml,
  "already_in_use.txt": alreadyInUseTxt,
  "auth_done.inc": authDoneInc,
  "auth_dummy.html": authDummyHtml,
  "auth_email.html": authEmailHtml,
  "auth_password.html": authPasswordHtml,
  "auth_success.html": authSuccessHtml,
  "consent_success.html": consentSuccessHtml,
  "invalid_token.html": invalidTokenHtml,
  "login.html": loginHtml,
  "login_done.inc": loginDoneInc,
  "login_success.html": loginSuccessHtml,
  "mail.css": mailCss,
  "media_upload_limit_exceeded.html": mediaUploadLimitExceededHtml,
  "notice_expiry.html": noticeExpiryHtml,
  "notice_expiry.txt": noticeExpiryTxt,
  "notif.html": notifHtml,
  "notif.txt": notifTxt,
  "notif_mail.html": notifMailHtml,
  "notif_mail.txt": notifMailTxt,
  "password_reset.html": passwordResetHtml,
  "password_reset.txt": passwordResetTxt,
  "password_reset_confirmation.html": passwordResetConfirmationHtml,
  "password_reset_failure.html": passwordResetFailureHtml,
  "password_reset_success.html": passwordResetSuccessHtml,
  "recaptcha.html": recaptchaHtml,
  "registration.html": registrationHtml,
  "registration.txt": registrationTxt,
  "registration_failure.html": registrationFailureHtml,
  "registration_success.html": registrationSuccessHtml,
  "registration_token.html": registrationTokenHtml,
  "room.html": roomHtml,
  "room.txt": roomTxt,
  "sso.css": ssoCss,
  "sso_account_deactivated.html": ssoAccountDeactivatedHtml,
  "sso_auth_account_details.html": ssoAuthAccountDetailsHtml,
  "sso_auth_account_details.js": ssoAuthAccountDetailsJs,
  "sso_auth_bad_user.html": ssoAuthBadUserHtml,
  "sso_auth_confirm.html": ssoAuthConfirmHtml,
  "sso_auth_success.html": ssoAuthSuccessHtml,
  "sso_error.html": ssoErrorHtml,
  "sso_footer.html": ssoFooterHtml,
  "sso_login_idp_picker.html": ssoLoginIdpPickerHtml,
  "sso_new_user_consent.html": ssoNewUserConsentHtml,
  "sso_partial_profile.html": ssoPartialProfileHtml,
  "sso_redirect_confirm.html": ssoRedirectConfirmHtml,
  "style.css": styleCss,
  "terms.html": termsHtml,
  "unsubscribe.html": unsubscribeHtml,
  "unsubscribe_confirmation.html": unsubscribeConfirmationHtml,
};
