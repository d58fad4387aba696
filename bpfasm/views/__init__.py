"""What people and programs see: listings and JSON documents."""
