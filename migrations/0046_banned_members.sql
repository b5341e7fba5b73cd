-- In which rooms a user is banned: asked for when an administrator has all that they said redacted.
CREATE INDEX current_state_banned ON current_state (state_key, room_nid) WHERE membership = 'ban';
