package appconfig

import (
	"fmt"
	"strconv"

	"gopkg.in/yaml.v3"
)

// read sets the setting from its value in an apps_file. Errors carry the line,
// but not the setting's name.
func (s Setting) read(a *App, node *yaml.Node) (err error) {
	switch target := s.target(a).(type) {
	case *string:
		*target, err = readText(node)
	case *int64:
		*target, err = readInteger(node)
	case *bool:
		*target, err = readFlag(node)
	case *[]string:
		*target, err = readList(node)
	case *Rate:
		*target, err = readRate(node)
	}
	return err
}

func readText(node *yaml.Node) (string, error) {
	switch {
	case node.Kind == yaml.MappingNode:
		return "", errorAt(node, `must be a text; a placeholder needs quotes in YAML: "{env.NAME}"`)
	case node.Kind == yaml.ScalarNode && node.Value == "":
		return "", errorAt(node, "must not be empty; leave the key out instead")
	case node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str":
		return "", errorAt(node, "must be a text; put numbers and the like in quotes")
	}
	return node.Value, nil
}

func readInteger(node *yaml.Node) (int64, error) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!int" {
		if n, err := strconv.ParseInt(node.Value, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, errorAt(node, "must be a whole number without quotes")
}

func readFlag(node *yaml.Node) (bool, error) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!bool" {
		if flag, err := strconv.ParseBool(node.Value); err == nil {
			return flag, nil
		}
	}
	return false, errorAt(node, "must be true or false without quotes")
}

func readList(node *yaml.Node) ([]string, error) {
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		return nil, errorAt(node, "must be a list with at least one item, such as [oauth, crm.objects.contacts.read]")
	}
	var list []string
	for i, item := range node.Content {
		text, err := readText(item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		list = append(list, text)
	}
	return list, nil
}

func readRate(node *yaml.Node) (Rate, error) {
	var rate Rate
	if node.Kind != yaml.ScalarNode {
		return rate, errorAt(node, "must be a rate, such as 110 10s")
	}
	if err := rate.UnmarshalText([]byte(node.Value)); err != nil {
		return rate, errorAt(node, "%w", err)
	}
	return rate, nil
}
