// Health prints what GitOps tools make of objects: Flux by the kstatus library, Argo CD by a health
// script in Argo CD's own Lua interpreter, with the libraries that it gives to scripts of its users.
//
//	health SCRIPT < list.json
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Health is what the tools say of one object.
type Health struct {
	Name    string `json:"name"`
	Kstatus string `json:"kstatus"`
	Argo    string `json:"argo"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: health SCRIPT < list.json")
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var list unstructured.UnstructuredList
	if err := list.UnmarshalJSON(stdin); err != nil {
		return err
	}
	all := []Health{}
	for _, object := range list.Items {
		computed, err := status.Compute(&object)
		if err != nil {
			return fmt.Errorf("%s: kstatus: %w", object.GetName(), err)
		}
		argo, message, err := argo(string(script), object.Object)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", object.GetName(), os.Args[1], err)
		}
		all = append(all, Health{object.GetName(), computed.Status.String(), argo, message})
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

// argo runs the script as Argo CD does: the object is the global `obj`, and the script returns a
// table with a status and a message.
func argo(script string, object map[string]any) (string, string, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", "", err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	health, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("it returns %s, not a table", state.Get(-1).Type())
	}
	return lua.LVAsString(health.RawGetString("status")), lua.LVAsString(health.RawGetString("message")), nil
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
