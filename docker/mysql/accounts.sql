-- The streamer's account: what it needs and nothing else. `binpulse init` makes the schema.
CREATE USER 'binpulse'@'%' IDENTIFIED BY 'pulse-of-the-demo';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'binpulse'@'%';
GRANT ALL ON binpulse.* TO 'binpulse'@'%';
