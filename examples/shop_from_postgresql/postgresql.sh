# A throw-away PostgreSQL in a folder: start_postgresql FOLDER sets PGHOST, PGPORT, PGUSER and PGPASSWORD,
# which all clients of PostgreSQL read, so that no address holds a password.

find_postgresql() {
    local program
    for program in "$(command -v "$1" || true)" /usr/lib/postgresql/*/bin/"$1"; do
        if [ -x "$program" ]; then
            echo "$program"
            return
        fi
    done
    fail "there is no $1; install PostgreSQL (Debian: apt-get install postgresql), or set DATABASE_URL."
}

# PostgreSQL refuses to run as root.
as_owner() {
    if [ "$(id -u)" = 0 ]; then
        (cd "$cluster" && runuser -u postgres -- "$@")
    else
        (cd "$cluster" && "$@")
    fi
}

start_postgresql() {
    local pg_ctl
    pg_ctl="$(find_postgresql pg_ctl)"
    cluster="$1"
    # The user postgres cannot enter a folder of root's, such as /root.
    if [ "$(id -u)" = 0 ]; then cluster="$(mktemp -d)"; at_exit "rm -rf $cluster"; fi
    PGHOST=127.0.0.1 PGUSER=shop PGPORT="$(free_port)"
    PGPASSWORD="$("$python" -c 'import secrets; print(secrets.token_hex(16))')"
    export PGHOST PGPORT PGUSER PGPASSWORD
    rm -rf "$1" # it holds nothing but what this script puts into it
    mkdir -p "$1"
    (umask 077 && echo "$PGPASSWORD" >"$1/password")
    if [ "$(id -u)" = 0 ]; then
        cp "$1/password" "$cluster/password"
        chown -R postgres "$cluster"
    fi
    as_owner "$(find_postgresql initdb)" --pgdata=data --username=shop --pwfile=password \
        --auth=scram-sha-256 --encoding=UTF8 --no-locale --no-sync >"$logs/initdb.log"
    as_owner "$pg_ctl" start --pgdata=data --log=log --wait \
        --options="-p $PGPORT -h 127.0.0.1 -c unix_socket_directories= -c fsync=off" >/dev/null
    at_exit "as_owner $pg_ctl stop --pgdata=data --mode=fast --wait >/dev/null"
    "$(find_postgresql createdb)" --maintenance-db=postgres shop
    "$(find_postgresql createdb)" --maintenance-db=postgres mlflow
}
