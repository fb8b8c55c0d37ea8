# sweep FOLDER: removes the files and the cgroups of a run whose processes have been told to end.
name=${1##*/}
tries=0
while [ "$tries" -lt 100 ]; do
    groups=$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$name")
    [ -n "$groups" ] || break
    find $groups -depth -type d -exec rmdir {} + 2>/dev/null
    tries=$((tries + 1))
    sleep 0.05
done
rm -rf -- "$1"
