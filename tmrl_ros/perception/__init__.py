"""From synchronised camera frames and a robot state to what one decision is made from."""
