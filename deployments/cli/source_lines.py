"""On which line of a YAML or JSON text the value of a JSON pointer stands."""

from collections.abc import Sequence

import yaml

from deployments.cli.failures import LineOf, no_line


def find_lines(text: str) -> LineOf:
    """Read a text that was accepted as YAML or JSON once more, for its places.

    The line of a field is the one of its name; of what does not exist, that of the nearest part
    around it which does.
    """
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        # JSON that is no YAML, such as with tabs between its tokens.
        return no_line
    if root is None:
        return no_line

    def line_of(pointer: str) -> int | None:
        tokens = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        return _line(root, tokens)

    return line_of


def _line(root: yaml.Node, tokens: Sequence[str]) -> int:
    here, line = root, root.start_mark.line
    for token in tokens:
        if isinstance(here, yaml.MappingNode):
            pairs = ((key, value) for key, value in here.value if key.value == token)
            key, value = next(pairs, (None, None))
            if key is None or value is None:
                break
            here, line = value, key.start_mark.line
        elif isinstance(here, yaml.SequenceNode):
            if not token.isdigit() or int(token) >= len(here.value):
                break
            here = here.value[int(token)]
            line = here.start_mark.line
        else:
            break
    return line + 1
