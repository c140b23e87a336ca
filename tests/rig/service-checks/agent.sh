# shellcheck shell=bash
# The agent's unit: this device as the agent of a hub, which runs beside it, on pins of its own making.

systemctl stop pinwire
printf 'correct horse\n' >/run/ann.password
chmod 600 /run/ann.password
mkdir -m 700 /run/hub
pinwire user add --email ann@example.org --username ann --password-file /run/ann.password --state-dir /run/hub >/dev/null
systemd-run --quiet --unit=hub --property=Type=notify pinwire serve --state-dir /run/hub --listen 127.0.0.1:9100 --gpio sim --auth key
port=9100
token=$(post /api/v1/auth/login '{"username":"ann","password":"correct horse"}' | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
check "the hub lets a user in" test -n "$token"
server=$(post /api/v1/servers '{"name":"attic"}' "$token" | sed -n 's/.*"id":"\{0,1\}\([^",}]*\).*/\1/p')
post /api/v1/api-keys "{\"server_id\":\"$server\"}" "$token" | sed -n 's/.*"key":"\([^"]*\)".*/\1/p' >/run/agent.key
check "it makes a key for a device" test -s /run/agent.key
unset port

install -m600 -o pinwire -g pinwire /run/agent.key /etc/pinwire/agent.key
if [ ! -e /etc/pinwire/agent.toml ]; then /rig/packaging/config agent >/etc/pinwire/agent.toml; fi
sed -i 's|^#hub = .*|hub = "ws://127.0.0.1:9100"|' /etc/pinwire/agent.toml
place=$(now)
check "the agent starts" systemctl start pinwire-agent
said_by_agent() { journalctl --sync && journalctl --unit=pinwire-agent --output=cat --no-pager | grep -qE -- "$1"; }
check "it finds the hub" within "$LIMIT" said_by_agent 'connected|hub'
online() { port=9100 request "GET /api/v1/servers" '' "$token" && [[ "$answer" == *'"online"'* ]]; }
check "the hub sees it" within "$LIMIT" online
# Its own loopback port, which answers nobody, apart.
same "nobody outside can reach it" "" "$(ss -ltnpH | grep "pid=$(main_pid pinwire-agent)," | grep -v ' 127\.0\.0\.1:')"
refused "the daemon and the agent are not there together" eval 'active pinwire && active pinwire-agent'
pid=$(main_pid pinwire-agent)
kill -KILL "$pid"
check "kill -9: it is started again" within "$LIMIT" reborn "$pid" pinwire-agent
check "without its hub" systemctl stop hub
sleep 5
check "it goes on" active pinwire-agent
systemctl start pinwire
same "a start of the daemon ends it" inactive "$(about pinwire-agent ActiveState)"
check "and the daemon serves" healthy
