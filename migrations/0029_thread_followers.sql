-- Who follows a thread is asked for at each event of it.
CREATE INDEX thread_subscriptions_thread ON thread_subscriptions (room_nid, root_id) WHERE is_subscribed;
