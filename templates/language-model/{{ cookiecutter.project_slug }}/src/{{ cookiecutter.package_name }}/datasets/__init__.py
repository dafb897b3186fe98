"""Where texts, chats and pairs of answers come from, and how they become rows of tokens."""
