//! The SDK of Element X against a homeserver: `rust-sdk-check URL`.
//!
//! Two people talk in an encrypted room by sliding sync, edit, react, redact, read, send a file; a second device gets the
//! keys from the backup; they verify each other. Where the server is to be killed and started again, it prints `RESTART`
//! and waits for a line.
#![recursion_limit = "256"]

mod person;

use std::io::stdin;

use anyhow::{Context, Result, ensure};
use matrix_sdk::{
    Room, RoomState,
    attachment::AttachmentConfig,
    media::{MediaFormat, MediaRequestParameters},
    room::edit::EditedContent,
    ruma::{
        api::client::{
            receipt::create_receipt::v3::ReceiptType,
            room::create_room::v3::{Request as CreateRoom, RoomPreset},
        },
        events::{
            InitialStateEvent,
            room::{
                encryption::RoomEncryptionEventContent,
                message::{MessageType, RoomMessageEventContent, RoomMessageEventContentWithoutRelation},
            },
        },
    },
};
use matrix_sdk_ui::timeline::Timeline;
use person::{Person, body, shown, told, until};

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args()
        .nth(1)
        .context("give the URL of a homeserver with open registration")?;
    let alice = Person::register(&url, "alice").await?;
    let bob = Person::register(&url, "bob").await?;
    alice.client.account().set_display_name(Some("Alice")).await?;
    let (at_alice, at_bob) = meet(&alice, &bob).await?;
    let (hers, his) = (alice.open(&at_alice).await?, bob.open(&at_bob).await?);
    chat(&hers, &his, 0..10).await?;
    println!("RESTART");
    stdin().read_line(&mut String::new())?;
    chat(&hers, &his, 10..20).await?;
    change(&hers, &his).await?;
    read(&bob, &at_bob, &hers, &his).await?;
    let (_guard, mut typing) = at_alice.subscribe_to_typing_notifications();
    at_bob.typing_notice(true).await?;
    ensure!(typing.recv().await? == [bob.id()], "somebody else types");
    send_file(&at_alice, &bob, &his).await?;
    recover(&url, &alice, &at_alice).await?;
    verify(&alice, &bob).await?;
    ensure!(
        alice.room_names().await? == ["Tea", "bob"],
        "the room list is {:?}",
        alice.room_names().await?
    );
    at_bob.leave().await?;
    until("alice sees bob leave", || async {
        let member = at_alice.get_member_no_sync(&bob.id()).await.ok()??;
        (member.membership().as_str() == "leave").then_some(())
    })
    .await?;
    for person in [&alice, &bob] {
        person.sync.stop().await;
        person.client.matrix_auth().logout().await?;
    }
    println!("DONE");
    Ok(())
}

async fn meet(alice: &Person, bob: &Person) -> Result<(Room, Room)> {
    let mut request = CreateRoom::new();
    request.name = Some("Tea".to_owned());
    request.preset = Some(RoomPreset::PrivateChat);
    request.invite = vec![bob.id()];
    let encryption = RoomEncryptionEventContent::with_recommended_defaults();
    request.initial_state = vec![InitialStateEvent::with_empty_state_key(encryption).to_raw_any()];
    let at_alice = alice.client.create_room(request).await?;
    let at_bob = bob.room(at_alice.room_id(), RoomState::Invited).await?;
    let inviter = at_bob.invite_details().await?.inviter.context("nobody invited")?;
    ensure!(
        inviter.user_id() == alice.id() && at_bob.display_name().await?.to_string() == "Tea",
        "a wrong invitation"
    );
    at_bob.join().await?;
    bob.room(at_alice.room_id(), RoomState::Joined).await?;
    until("bob knows that the room is encrypted", || async {
        at_bob
            .latest_encryption_state()
            .await
            .ok()?
            .is_encrypted()
            .then_some(())
    })
    .await?;
    until("alice sees bob come", || async {
        let member = at_alice.get_member_no_sync(&bob.id()).await.ok()??;
        (member.membership().as_str() == "join").then_some(())
    })
    .await?;
    Ok((at_alice, at_bob))
}

async fn chat(hers: &Timeline, his: &Timeline, numbers: std::ops::Range<usize>) -> Result<()> {
    for number in numbers {
        let (from, to, who) = if number % 2 == 0 {
            (hers, his, "bob")
        } else {
            (his, hers, "alice")
        };
        let text = format!("message {number}");
        from.send(RoomMessageEventContent::text_plain(&text).into()).await?;
        let item = told(who, to, &text).await?;
        ensure!(item.encryption_info().is_some(), "{text} was not encrypted");
    }
    Ok(())
}

/// A reaction, an edit, a redaction and a reply.
async fn change(hers: &Timeline, his: &Timeline) -> Result<()> {
    let liked = told("bob", his, "message 0").await?;
    his.toggle_reaction(&liked.identifier(), "👍").await?;
    shown("alice sees the reaction", hers, |item| {
        body(item) == Some("message 0") && item.content().reactions().is_some_and(|found| found.contains_key("👍"))
    })
    .await?;
    let mistaken = told("alice", hers, "message 2").await?;
    let corrected = RoomMessageEventContentWithoutRelation::text_plain("message two");
    hers.edit(&mistaken.identifier(), EditedContent::RoomMessage(corrected))
        .await?;
    told("bob", his, "message two").await?;
    let regretted = told("alice", hers, "message 4").await?;
    hers.redact(&regretted.identifier(), Some("a mistake")).await?;
    shown("bob sees the redaction", his, |item| {
        item.event_id() == regretted.event_id() && item.content().is_redacted()
    })
    .await?;
    let question = told("bob", his, "message 6").await?;
    let reply = RoomMessageEventContentWithoutRelation::text_plain("a reply");
    his.send_reply(reply, question.event_id().context("no id")?.to_owned())
        .await?;
    let replied = told("alice", hers, "a reply").await?.content().in_reply_to();
    ensure!(
        replied.is_some_and(|to| Some(&*to.event_id) == question.event_id()),
        "a reply to nothing"
    );
    Ok(())
}

async fn read(bob: &Person, at_bob: &Room, hers: &Timeline, his: &Timeline) -> Result<()> {
    let unread = |count| {
        until("bob has so many unread", move || async move {
            (at_bob.num_unread_messages() == count).then_some(())
        })
    };
    his.mark_as_read(ReceiptType::Read).await?;
    shown("alice sees what bob has read", hers, |item| {
        item.read_receipts().contains_key(&bob.id())
    })
    .await?;
    unread(0).await?;
    hers.send(RoomMessageEventContent::text_plain("one more").into())
        .await?;
    told("bob", his, "one more").await?;
    unread(1).await
}

async fn send_file(at_alice: &Room, bob: &Person, his: &Timeline) -> Result<()> {
    let bytes = vec![7; 50_000];
    let kind = "application/octet-stream".parse()?;
    at_alice
        .send_attachment("tea.bin", &kind, bytes.clone(), AttachmentConfig::new())
        .await?;
    let item = told("bob", his, "tea.bin").await?;
    let Some(MessageType::File(file)) = item.content().as_message().map(|message| message.msgtype()) else {
        anyhow::bail!("no file came");
    };
    let request = MediaRequestParameters {
        source: file.source.clone(),
        format: MediaFormat::File,
    };
    ensure!(
        bob.client.media().get_media_content(&request, false).await? == bytes,
        "the file differs"
    );
    Ok(())
}

/// A second device gets all keys with the recovery key, and reads what was said before it was there.
async fn recover(url: &str, alice: &Person, at_alice: &Room) -> Result<()> {
    let key = alice
        .client
        .encryption()
        .recovery()
        .enable()
        .wait_for_backups_to_upload()
        .await?;
    let second = Person::log_in(url, &alice.id()).await?;
    second.client.encryption().recovery().recover(&key).await?;
    let room = second.room(at_alice.room_id(), RoomState::Joined).await?;
    let timeline = second.open(&room).await?;
    while !timeline.paginate_backwards(20).await? {}
    told("the second device", &timeline, "message 1").await?;
    told("the second device", &timeline, "message two").await?;
    let items = timeline.items().await;
    let unreadable = items
        .iter()
        .filter_map(|item| item.as_event())
        .filter(|item| item.content().is_unable_to_decrypt());
    ensure!(unreadable.count() == 0, "the second device cannot read all");
    let own = second
        .client
        .encryption()
        .get_own_device()
        .await?
        .context("no device")?;
    ensure!(
        own.is_cross_signed_by_owner(),
        "the second device is not signed by its owner"
    );
    second.sync.stop().await;
    second.client.matrix_auth().logout().await?;
    Ok(())
}

/// By emoji, in a direct chat that the request makes. The SDK sends some answers only with its next sync of to-device
/// messages, half a minute later.
async fn verify(alice: &Person, bob: &Person) -> Result<()> {
    let identity = alice
        .client
        .encryption()
        .get_user_identity(&bob.id())
        .await?
        .context("bob has no identity")?;
    let request = identity.request_verification().await?;
    let chat = until("bob is invited to a direct chat", || async {
        bob.client.invited_rooms().into_iter().next()
    })
    .await?;
    ensure!(chat.is_direct().await?, "the chat is not direct");
    chat.join().await?;
    let _timeline = bob.open(&chat).await?;
    let flow = request.flow_id();
    let encryption = bob.client.encryption();
    let asked = until("bob is asked", || async {
        encryption.get_verification_request(&alice.id(), flow).await
    })
    .await?;
    asked.accept().await?;
    until("bob has accepted", || async { request.is_ready().then_some(()) }).await?;
    let hers = request.start_sas().await?.context("no verification by emoji")?;
    let his = until("the verification begins", || async {
        encryption
            .get_verification(&alice.id(), flow)
            .await
            .and_then(|verification| verification.sas())
    })
    .await?;
    his.accept().await?;
    until("emoji are shown", || async {
        (hers.can_be_presented() && his.can_be_presented()).then_some(())
    })
    .await?;
    let symbols =
        |emoji: Option<[matrix_sdk::encryption::verification::Emoji; 7]>| emoji.map(|all| all.map(|one| one.symbol));
    ensure!(symbols(hers.emoji()) == symbols(his.emoji()), "the emoji differ");
    hers.confirm().await?;
    his.confirm().await?;
    until("both are done", || async {
        (hers.is_done() && his.is_done()).then_some(())
    })
    .await?;
    until("bob is verified", || async {
        let identity = alice.client.encryption().get_user_identity(&bob.id()).await.ok()??;
        identity.is_verified().then_some(())
    })
    .await
}
