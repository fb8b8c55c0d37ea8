-- The health of a Workspace for Argo CD, from the same conditions that kstatus reads. Argo CD gives
-- scripts of its users the base and the table library only.
if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "it is being deleted" }
end
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not looked at it yet" }
end
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.status == "True" then
    conditions[condition.type] = condition.message
  elseif condition.type == "Ready" then
    conditions.NotReady = condition.message
  end
end
-- What stands still comes first: an older Pod may be Ready beside it.
if conditions.Stalled ~= nil then
  return { status = "Degraded", message = conditions.Stalled }
end
if conditions.Suspended ~= nil then
  return { status = "Suspended", message = conditions.Suspended }
end
if conditions.Ready ~= nil and conditions.Reconciling == nil then
  return { status = "Healthy", message = conditions.Ready }
end
return { status = "Progressing", message = conditions.Reconciling or conditions.NotReady or "" }
