# Shared by `up`, `down` and `part`: where things are, and how a component is started and ended.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
components=(etcd kube-apiserver kube-controller-manager kube-scheduler kwok)

say() { printf '%s\n' "$*" >&2; }

# The binaries, keyed by what they are built from. TIDEGATE_CLUSTER_BIN names a folder that several checkouts share.
digest=$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
bin=${TIDEGATE_CLUSTER_BIN:-$root/target/cluster/bin}/$digest

# start DIR COMPONENT: runs it as its `.cmd` says; what it writes goes to `.log`.
start() {
    local dir=$1 name=$2
    # Its own session: a Ctrl-C at the terminal of a test is not for it.
    setsid bash "$dir/$name.cmd" </dev/null >>"$dir/$name.log" 2>&1 &
    echo $! >"$dir/$name.pid"
}

# alive DIR COMPONENT: whether the process that we started runs. A process id may have been given to another since.
alive() {
    local pid
    pid=$(cat "$1/$2.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$1"
}

# end DIR COMPONENT [SIGNAL]
end() {
    local pid tries=0
    alive "$1" "$2" || return 0
    pid=$(cat "$1/$2.pid")
    kill "-${3:-TERM}" "$pid" 2>/dev/null
    while alive "$1" "$2"; do
        sleep 0.05
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { kill -KILL "$pid" 2>/dev/null; sleep 0.2; }
    done
    # Its ports are free once it is a zombie, or gone.
    tries=0
    while [ -e "/proc/$pid/stat" ] && ! grep -q ') Z ' "/proc/$pid/stat" 2>/dev/null && [ $tries -lt 200 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    rm -f "$1/$2.pid"
}

# A port of loopback that nobody listens on.
taken=" "
free_port() {
    while :; do
        port=$((20000 + RANDOM % 12000))
        case $taken in *" $port "*) continue ;; esac
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            taken="$taken$port "
            return
        fi
    done
}
