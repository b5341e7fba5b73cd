//! A person with one device, synced as Element X does it: by the sync service of matrix-sdk-ui.
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, pin_mut};
use matrix_sdk::{
    Client, Room, RoomState,
    encryption::{BackupDownloadStrategy, EncryptionSettings},
    ruma::{
        OwnedUserId, RoomId, UserId,
        api::client::{account::register::v3::Request, uiaa},
    },
};
use matrix_sdk_ui::{
    eyeball_im::Vector,
    room_list_service::filters,
    sync_service::SyncService,
    timeline::{EventTimelineItem, Timeline},
};

const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "correct horse battery staple";

pub struct Person {
    pub client: Client,
    pub sync: Arc<SyncService>,
}

impl Person {
    pub async fn register(url: &str, name: &str) -> Result<Self> {
        let client = build(url).await?;
        let mut request = Request::new();
        request.username = Some(name.to_owned());
        request.password = Some(PASSWORD.to_owned());
        request.refresh_token = true;
        if let Err(error) = client.matrix_auth().register(request.clone()).await {
            let asked = error
                .as_uiaa_response()
                .with_context(|| format!("registering failed: {error}"))?;
            let mut dummy = uiaa::Dummy::new();
            dummy.session = asked.session.clone();
            request.auth = Some(uiaa::AuthData::Dummy(dummy));
            client.matrix_auth().register(request).await?;
        }
        Self::begin(client).await
    }

    pub async fn log_in(url: &str, user: &UserId) -> Result<Self> {
        let client = build(url).await?;
        client.matrix_auth().login_username(user, PASSWORD).send().await?;
        Self::begin(client).await
    }

    async fn begin(client: Client) -> Result<Self> {
        client.event_cache().subscribe()?;
        let sync = Arc::new(SyncService::builder(client.clone()).with_offline_mode().build().await?);
        sync.start().await;
        client.encryption().wait_for_e2ee_initialization_tasks().await;
        Ok(Self { client, sync })
    }

    pub fn id(&self) -> OwnedUserId {
        self.client.user_id().expect("logged in").to_owned()
    }

    /// Opens a room as somebody does who taps on it: Element X subscribes to it then.
    pub async fn open(&self, room: &Room) -> Result<Timeline> {
        self.sync
            .room_list_service()
            .subscribe_to_rooms(&[room.room_id()])
            .await;
        Ok(matrix_sdk_ui::timeline::RoomExt::timeline(room).await?)
    }

    pub async fn room(&self, id: &RoomId, state: RoomState) -> Result<Room> {
        let what = format!("{} has the room as {state:?}", self.id());
        until(&what, || async {
            self.client.get_room(id).filter(|room| room.state() == state)
        })
        .await
    }

    /// The names of the room list's first page.
    pub async fn room_names(&self) -> Result<Vec<String>> {
        let list = self.sync.room_list_service().all_rooms().await?;
        let (diffs, control) = list.entries_with_dynamic_adapters(20);
        control.set_filter(Box::new(filters::new_filter_non_left()));
        pin_mut!(diffs);
        let mut rooms = Vector::new();
        let first = tokio::time::timeout(PATIENCE, diffs.next())
            .await?
            .context("the room list ended")?;
        for diff in first {
            diff.apply(&mut rooms);
        }
        let mut names = vec![];
        for room in rooms {
            names.push(room.display_name().await?.to_string());
        }
        names.sort();
        Ok(names)
    }
}

async fn build(url: &str) -> Result<Client> {
    let settings = EncryptionSettings {
        auto_enable_cross_signing: true,
        auto_enable_backups: true,
        backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
    };
    let builder = Client::builder().homeserver_url(url).with_encryption_settings(settings);
    Ok(builder.handle_refresh_tokens().build().await?)
}

/// Waits until `check` finds something.
pub async fn until<T, F, Fut>(what: &str, mut check: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(found) = check().await {
            println!("ok {what}");
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("not within {PATIENCE:?}: {what}")
}

pub fn body(item: &EventTimelineItem) -> Option<&str> {
    item.content().as_message().map(|message| message.body())
}

/// Waits until a timeline has an event, as the server sent it, for which `check` holds.
pub async fn shown<F>(what: &str, timeline: &Timeline, check: F) -> Result<EventTimelineItem>
where
    F: Fn(&EventTimelineItem) -> bool,
{
    until(what, || async {
        let items = timeline.items().await;
        items
            .iter()
            .filter_map(|item| item.as_event())
            .find(|&item| item.is_remote_event() && check(item))
            .cloned()
    })
    .await
}

/// Waits until a timeline shows a text.
pub async fn told(who: &str, timeline: &Timeline, text: &str) -> Result<EventTimelineItem> {
    shown(&format!("{who} sees {text:?}"), timeline, |item| {
        body(item) == Some(text)
    })
    .await
}
