# How long until the node writes something about this Pod: "250ms"; or "" when there is
# nothing to write until the Pod changes or a registry does.
$OUTAGES as $outages
| (.metadata.annotations["kwok/behaviour"] // "") as $behaviour
| .spec.containers[0].name as $first
| ([.status.initContainerStatuses[]?, .status.containerStatuses[]?]
    | map({key: .name, value: .}) | from_entries) as $have
| all(.status.initContainerStatuses[]?; .ready) as $prepared
| [(.spec.initContainers[]? | {name, image, early: true}), .spec.containers[]
    | . as $container
    | ($have[.name] // {}) as $status
    | ($status.state.waiting.reason // "") as $waiting
    | ([$outages[] | select((.prefix as $p | $container.image | startswith($p))
        and ((.cached | not) or $container.imagePullPolicy == "Always"))][-1]) as $outage
    | (if .name == $first then $behaviour else "" end) as $behaviour
    | if $status.image != .image then "250ms"
      elif $status.state.running then
        if $behaviour == "crash" then "500ms"
        elif $status.ready == ($behaviour | IN("not-ready", "fail")) then "250ms"
        else "" end
      elif $waiting == "" or ($waiting == "PodInitializing" and ($prepared or .early | not)) then ""
      elif $waiting == "CrashLoopBackOff" then "2000ms"
      elif $outage.hangs then ""
      elif $outage == null then
        if $waiting == "CreateContainerConfigError" and $behaviour == "missing-config" then ""
        else "250ms" end
      elif $waiting == "ErrImagePull" then "1000ms"
      elif $waiting == "ImagePullBackOff" then "2500ms"
      else "350ms" end] as $looks
| if .status.startTime == null then "40ms"
  elif .status.observedGeneration != .metadata.generation then "30ms"
  elif $behaviour == "no-volume" and .status.podIP == null then ""
  else [$looks[] | select(. != "")] | min_by(.[:-2] | tonumber) // ""
  end
