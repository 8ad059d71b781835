-- Why a message failed.
ALTER TABLE bridge_message ADD COLUMN reason TEXT;
