# keeper FOLDER COMMAND...: runs the command in namespaces of its own, until it ends or the input
# does. What it started, mounted and connected ends with the namespaces, however it ends; its files
# and cgroups do not, and are removed.
trap '' HUP INT TERM
folder=$1
shift
# What runs in the background has no input of its own.
exec 3<&0
# The first process of its own: it reaps what loses its parent.
init='"$@"; exit "$?"'
(
    trap - HUP INT TERM
    exec unshare --mount --net --pid --ipc --uts --fork --kill-child=KILL --mount-proc \
        sh -c "$init" init "$@" 3<&-
) </dev/null &
child=$!
# The kernel closes the other end for us, also after a SIGKILL.
{
    read -r _
    kill -s KILL "$child"
} <&3 2>/dev/null &
reader=$!
wait "$child" 2>/dev/null
code=$?
kill -s KILL "$reader" 2>/dev/null
sh -c "$SWEEP" sweep "$folder"
exit "$code"
