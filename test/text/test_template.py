"""Chat templates against Jinja2, set up as transformers does: equal text, or an error in both.

usage: test_template.py TEXT_TOOL [MODEL.gguf]
Published templates, or their equivalents, are in templates/ (see its README.md); the model's own is added where one is given. Those
written here have one construct each, and errors.
"""
import itertools
import json
import resource
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATES = {
    "chatml": """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "smollm-default-system": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are helpful<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    "llama2": """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}""",
    "llama3": """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}""",
    "llama31-tools": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- This block extracts the system message #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "mistral": """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}""",
    "mistral-namespace": """{%- set ns = namespace(index=0, system="") %}
{%- for m in messages %}{% if m.role == "system" %}{% set ns.system = ns.system ~ m.content ~ "\\n" %}{% endif %}{% endfor %}
{{- bos_token }}
{%- for message in messages | rejectattr("role", "equalto", "system") %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and ns.system %}
            {{- "[INST] " + ns.system + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}{{ ns.index }}""",
    "gemma": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}""",
    "phi3": """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}""",
    "zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    "qwen25-tools": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "qwen3-thinking": """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
    "granite": """{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set system_message = "Knowledge Cutoff Date: April 2024." %}{%- set loop_messages = messages %}{%- endif %}{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\\n' }}{%- for message in loop_messages %}{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\\n' }}{%- if loop.last and add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}{%- endfor %}""",
    "command-r": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% elif false == true %}{% set loop_messages = messages %}{% set system_message = 'none' %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% if system_message != false %}{{ '<|SYSTEM|>' + system_message + '<|END|>' }}{% endif %}{% for message in loop_messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|USER|>' + content.strip() + '<|END|>' }}{% elif message['role'] == 'assistant' %}{{ '<|BOT|>'  + content.strip() + '<|END|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|BOT|>' }}{% endif %}""",
    "deepseek": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}""",
    "vicuna": """{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + ' ' }}{% set rest = messages[1:] %}{% else %}A chat between a user and an assistant. {% set rest = messages %}{% endif %}{% for m in rest %}{{ m.role | upper + ': ' + m.content }}{{ ' ' if not loop.last else '' }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}""",
    "alpaca": """{% for message in messages -%}
### {{ message.role | capitalize }}:
{{ message.content }}

{% endfor -%}
{% if add_generation_prompt %}### Response:
{% endif %}""",
    "macros": """{% macro turn(role, content, end='<end>\\n') %}<{{ role }}>{{ content | trim }}{{ end }}{% endmacro %}{% for m in messages %}{{ turn(m.role, m.content) }}{% if loop.last %}{{ turn('x', content='y', end='') }}{% endif %}{% endfor %}""",
    "macro-types": """{%- macro json_to_python_type(json_spec) %}
{%- set basic = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic[json_spec.type] is defined %}
    {{- basic[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "List[" + json_to_python_type(json_spec['items']) + "]" }}
{%- elif json_spec.type is iterable and json_spec.type is not string %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}{{- json_to_python_type({"type": t}) }}{%- if not loop.last %}{{- "," }}{%- endif %}{%- endfor %}
    {{- "]" }}
{%- else %}{{- "Any" }}{%- endif %}
{%- endmacro %}
{%- for tool in tools or [] %}{%- for name, spec in tool.function.parameters.properties.items() %}{{ name }}: {{ json_to_python_type(spec) }}
{% endfor %}{%- endfor %}""",
    "loops": """{% for m in messages if m.role != 'system' %}{{ loop.index }}/{{ loop.length }} {{ loop.revindex }} {{ loop.first }} {{ loop.last }} {{ loop.cycle('a', 'b') }} {{ loop.previtem.role if loop.previtem is defined else '-' }} {{ loop.nextitem.role if loop.nextitem is defined else '-' }};{% else %}none{% endfor %}{% for i in range(3) %}{% for j in range(1, 7, 2) %}{{ i * j }},{% endfor %}{% endfor %}{% for k, v in {'b': 1, 'a': [1, 'x', none, true, 1.5]}.items() %}{{ k }}={{ v }} {% endfor %}""",
    "break-continue": """{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 5 %}{% break %}{% endif %}{{ i }}{% endfor %}""",
    "filters": """{{ messages | map(attribute='role') | join(', ') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ [3, 1, 2] | sort | join }} {{ ['b', 'A', 'c'] | sort(reverse=true) }} {{ 'x' | default('y') }} {{ nope | default('z') }} {{ '' | default('w', true) }} {{ 'hello world' | title }} {{ 'aXb' | lower | replace('x', '--') }} {{ [1, 2, 2, 3] | unique | list }} {{ 3.7 | int }} {{ '42' | int + 1 }} {{ [1, 2, 3] | sum }} {{ [[1, 2], [3]] | map('length') | list }} {{ -3 | abs }} {{ 2.5 | round }} {{ 'abc' | first }} {{ [1, 2] | last }} {{ {'b': 2, 'a': 1} | dictsort }} {{ 'abc' | reverse }} {{ ['a', 'b'] | tojson }} {{ "quote's \\"x\\"" | tojson }} {{ [1, 5, 3] | max }} {{ [4, 2] | min }} {{ 'a\\nb' | indent(2) }} {{ [0, 1, ''] | select | list }} {{ '<a&b>' | e }}""",
    "expressions": """{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 5 }} {{ 7 / 2 }} {{ 1 < 2 < 3 }} {{ not 1 == 2 }} {{ 'a' ~ 1 ~ none ~ true }} {{ 'x' if false }} {{ 'abc'[1] }} {{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }} {{ [1, 2, 3][-1] }} {{ [1, 2, 3, 4][::2] }} {{ 'b' in 'abc' }} {{ 4 not in [1, 2] }} {{ {'a': {'b': 1}}.a.b }} {{ (1, 2) }} {{ (1,) }} {{ 1.0 }} {{ 1e3 if false else 0.1 + 0.2 }} {{ 1 == 1.0 }} {{ true + 1 }} {{ [1] + [2] }} {{ 'ab' * 3 }} {{ none is none }} {{ x is undefined }} {{ 3 is odd }} {{ 4 is divisibleby 2 }} {{ 'A' is upper }} {{ 5 is number and 5 is not string }} {{ [] or 'empty' }} {{ 'a' 'b' }} {{ 1 if 0 else 2 if 0 else 3 }} {{ "it's" }} {{ ['it\\'s', "q\\"", '\\n'] }}""",
    "strings": """{{ ' a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a  b '.split() }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'Hello'.upper().lower().title() }}|{{ 'hello'.startswith('he') }}|{{ 'hello'.endswith(('x', 'lo')) }}|{{ 'a-b'.replace('-', '+') }}|{{ ', '.join(['x', 'y']) }}|{{ 'hello'.find('l') }}|{{ 'hello'.count('l') }}|{{ 'a\\nb\\n'.splitlines() }}|{{ '7'.isdigit() }}|{{ 'naïve日本'|length }}|{{ 'naïve日本'[-1] }}""",
    "whitespace": """
  {%- if true %}
    kept
  {% endif -%}
  next
{# a comment #}
    {% if true %}
indented {{ 1 }}
    {% endif %}
  {%+ if true %}plus{% endif %}
x {{- 1 -}} y
{{ 'end' }}
""",
    "raw-set-block": """{% raw %}{{ not evaluated }} {% if %}{% endraw %}{% set text %}block {{ 1 + 1 }}{% endset %}[{{ text }}]{% set a, b = 1, 2 %}{{ a }}{{ b }}""",
    "scoping": """{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}{% set ns = namespace(found=false) %}{% for i in [1] %}{% set ns.found = true %}{% endfor %}{{ ns.found }}""",
    "generation": """{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}""",
    "call-filter": """{% macro box(t) %}[{{ t }}:{{ caller() }}]{% endmacro %}{% call box('a') %}inner{% endcall %}{% filter upper %}shout {{ 1 }}{% endfilter %}""",
    "undefined-attribute": """{{ messages[0].nothing }}|{{ messages[0].nothing is defined }}|{{ messages[0]['nothing'] }}|{{ messages[9] }}""",
    "undefined-error": """{{ nothing.attribute }}""",
    "unknown-filter": """{{ 'a' | no_such_filter }}""",
    "not-callable": """{{ 'a'() }}""",
    "syntax-error": """{% if true %}never closed""",
    "unicode-space": """{{ '\u3000a \u00a0b\u2003'|trim }}|{{ '\u3000\u200ba\x85'.strip() }}|{{ 'a\u3000b\u00a0 c'.split() }}|{{ '。a。'.strip('。') }}|{{ '日x'.lstrip('月') }}|{{ ' \u3000'.isspace() }}|{{ ' a b '.split(none, 1) }}|{{ 'a\u2028b\x0bc\r\nd'.splitlines() }}|{{ 'a\nb'.splitlines(true) }}|{{ messages[-1].content|trim }}""",
    "cases": """{{ "it's a (small) test-case"|title }}|{{ "it's a (small) test-case".title() }}|{{ 'Ab' is lower }}|{{ '12' is upper }}|{{ 'AB1'.isupper() }}|{{ ''.islower() }}""",
    "numbers": """{{ 2.5|round }} {{ 3.5|round }} {{ 0.285|round(2) }} {{ 2.675|round(2) }} {{ 7|round }} {{ 7|round(1) }} {{ 2.1|round(0, 'ceil') }} {{ 2.19|round(1, 'floor') }} {{ [1] * 3 }} {{ 2 * 'ab' }} {{ 9007199254740993 > 9007199254740992 }}""",
    "slices": """{{ (1, 2, 3)[1:] }}{{ (1, 2, 3)[::-1] }}{{ 'naïve日本'[::-1] }}{{ 'naïve日本'[-3:-1] }}{{ [1, 2, 3][5:] }}{{ 'naïve日本'|reverse }}{{ (1,) + (2,) }}""",
    "slice-of-undefined": """{{ nothing[1:] }}""",
    "raw-newlines": """a
  {% raw %}
  {{ x }}
  {% endraw %}
b {%- raw -%}  {{ y }}  {%- endraw +%}
c
  {%+ raw %}z{%+ endraw %}
d""",
    "comments": """a
  {# one #}
b {#- two -#}
  c
  {#+ three +#}
d""",
    "carriage-returns": "{% if true %}\r\na\r\n  {% endif %}\r\n{{ 'x\r\ny'|length }}\rz\r\n",
    "too-many-arguments": """{{ 'a'.upper(1) }}""",
    "unknown-argument": """{{ [1]|join(nothing=1) }}""",
    "unknown-macro-argument": """{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, b=2) }}""",
    "unknown-test": """{{ 1 is no_such_test }}""",
    "json-separators": """{{ [1]|tojson(separators=(',', ':')) }}""",
    "json-styles": """{{ {'b': [1, 'é😀\x7f'], 'a': {}}|tojson(separators=(',', ':')) }} {{ {'b': [1, 'é😀\x7f'], 'a': {}}|tojson(ensure_ascii=true, sort_keys=true) }} {{ {'b': [1], 'a': []}|tojson(indent=2, sort_keys=true) }} {{ {'b': [1]}|tojson(indent=1, separators=(';', '=')) }}""",
    "sandbox": """{% set l = [1] %}{{ l.append is defined }}{{ l.append(2) }}""",
    "sandbox-update": """{{ {'a': 1}.update({'b': 2}) }}""",
    "with": """{% set x = 1 %}{% with x = 2, y = x %}{{ x }}{{ y }}{% set z = 3 %}{{ z }}{% endwith %}{{ x }}{{ y is defined }}{{ z is defined }}""",
    "generation-scope": """{% set x = 1 %}{% for m in messages %}{% generation %}{% set x = 2 %}{{ x }}{{ m.role }}{{ loop.index }}{% endgeneration %}{{ x }}{% endfor %}""",
    "call-argument": """{% macro m() %}<{{ caller is defined }}>{% endmacro %}{% macro n(x) %}{{ x }}{{ caller() }}{% endmacro %}{% call n(m()) %}body{% endcall %}{{ m() }}""",
    "call-scope": """{% macro twice(x) %}{{ caller() }}{{ x }}{{ caller() }}{% endmacro %}{% for m in messages %}{% set x = loop.index %}{% call twice('!') %}{{ x }}{{ m.role }}{% endcall %}{% endfor %}""",
    "set-filter": """{% set x | upper | replace('A', '4') %}a{{ 1 }}b{% endset %}[{{ x }}]{% filter trim | upper %}  q {{ 1 }} {% endfilter %}""",
    "more-filters": """{{ range(7)|batch(3)|list }} {{ range(7)|batch(3, 'x')|list }} {{ range(7)|slice(3)|list }} {{ range(7)|slice(3, 'x')|list }} {{ 'ab'|center(7) }}| {{ 'abc'|center(6) }}| {{ '%s-%d-%5.2f-%x%%'|format('é', 42, 3.14159, 255) }} {{ 'a b  c'|wordcount }} {{ 'a b/c?é'|urlencode }} {{ 'one two three four'|truncate(9) }} {{ 'one two three four'|truncate(9, true, '…', 0) }} {{ 'short'|truncate(3) }} {% for k, g in messages|groupby('role') %}{{ k }}{{ g|length }} {% endfor %}{{ 'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}""",
    "more-strings": """{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('x') }} {{ '-7'.zfill(4) }} {{ 'é'.ljust(3, '.') }} {{ 'é'.rjust(3) }} {{ 'ab'.center(5, '*') }} {{ 'abc'.center(6, '*') }} {{ '{} {1} {x}'.format(1, 2, x=3) if false else '{} {}'.format('a', none) }} {{ '{x}{{}}'.format(x=[1]) }} {{ 'aBc'.swapcase() }} {{ '%s and %r' % ('a', 'b') }} {{ '%d' % 3.7 }}""",
    "big-batch": """{{ [1]|batch(1000000000, 0)|list|length }}""",
    "big-center": """{{ 'a'.center(1000000000)|length }}""",
    "big-format": """{{ '%500000000d' % 1 }}""",
    "big-replace": """{{ ('a' * 20000000)|replace('a', 'b' * 20000000)|length }}""",
    "big-join": """{{ ([('a' * 20000000)] * 1000)|join|length }}""",
    "big-nesting": """{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson|length }}""",
    "big-equality": """{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}{% for i in range(60) %}{% set a.l = [a.l, a.l] %}{% set b.l = [b.l, b.l] %}{% endfor %}{{ a.l == b.l }}""",
    "big-list": """{% set ns = namespace(l=[], s='a' * 1000000) %}{% for i in range(100000) %}{% set ns.l = ns.l + [ns.s ~ i] %}{% endfor %}{{ ns.l|length }}""",
    "big-indent": """{{ ('\n' * 50000000)|indent(1000, true, true)|length }}""",
    "slow-strings": """{% set s = 'a' * 50000000 %}{% for i in range(1000000) %}{% if s.upper() == s %}x{% endif %}{% endfor %}""",
    "own-item": """{% set n = namespace(a=1) %}{% set n.a = [n] %}{{ n.a }}""",
    "own-macro": """{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}""",
    "endless": """{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{{ '' }}{% endfor %}{% endfor %}{% endfor %}""",
}
# These must be errors with us, soon: Jinja2 would run for ever, take all memory, or do what we refuse.
ONLY_ERROR = {"endless", "big-batch", "big-center", "big-format", "big-replace", "big-join", "big-nesting", "big-equality", "big-list", "big-indent", "slow-strings",
              "own-item", "own-macro"}

user = {"role": "user", "content": "\u3000 Hello, wörld! \u00a0\n"}
assistant = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHi 'there' \"you\" \u4f60\u597d"}
thinking = {"role": "assistant", "content": "\nyes", "reasoning_content": "\nso\n"}
system = {"role": "system", "content": "Be brief. /no_think\n"}
parts = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " what is this? "}]}
tools = [{"type": "function", "function": {"name": "weather", "description": "Get it", "parameters": {"type": "object", "properties": {
    "city": {"type": "string", "description": " where\n"}, "days": {"type": "array", "items": {"type": "integer"}, "description": "when"},
    "any": {"type": ["string", "number"], "description": "what"}, "more": {"type": "object", "additionalProperties": {"type": "boolean"}, "description": ""}},
    "required": ["city"]}, "return": {"type": "string", "description": "the \"weather\""}}},
    {"type": "function", "function": {"name": "nothing", "description": "Does <nothing> & more", "parameters": {"type": "object", "properties": {}}}}]
call = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": "abcdef123", "function": {
    "name": "weather", "arguments": {"city": "Köln", "days": [1, 2], "x": None, "y": 1.5, "z": {"a": True, "b": []}}}}]}
calls = {"role": "assistant", "content": None, "tool_calls": [
    {"type": "function", "id": "abcdef123", "function": {"name": "weather", "arguments": "{\"city\": \"Köln\"}"}},
    {"type": "function", "id": "abcdef124", "function": {"name": "nothing", "arguments": "{}"}}]}
answer = {"role": "tool", "name": "weather", "tool_call_id": "abcdef123", "content": "sunny"}
structured = {"role": "tool", "name": "weather", "tool_call_id": "abcdef123", "content": {"sky": "blue", "content": ["é", 20.5, False]}}
CONVERSATIONS = [[user], [system, user], [user, assistant, user], [system, user, assistant, user, assistant], [user, user], [assistant], [],
                 [user, call, answer, answer, assistant], [system, user, call, answer], [system, user, calls, answer, structured], [parts, thinking, user],
                 [system, user, thinking, user, call, structured, thinking]]


EXTRAS = [{}, {"tools": tools, "tools_in_user_message": False, "documents": [{"text": "one"}, {"text": "two\n"}], "controls": {"citations": True}},
          {"tools": None, "enable_thinking": False, "builtin_tools": ["weather", "code_interpreter"], "date_string": "1 May 2025"}]


class Generation(jinja2.ext.Extension):
    """transformers' tag; it only marks what the assistant said."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("called"), [], [], body).set_lineno(line)

    def called(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return env


def main():
    tool = sys.argv[1]
    templates = dict(TEMPLATES)
    folder = Path(__file__).parent / "templates"
    index = (folder / "README.md").read_text()
    for path in sorted(folder.glob("*.jinja")):
        templates[path.name] = path.read_text()
        assert f"| {path.stem} |" in index, f"{path.name} has no line in templates/README.md"
    if len(sys.argv) > 2:
        from gguf import GGUFReader
        templates["the model's own"] = GGUFReader(sys.argv[2]).fields["tokenizer.chat_template"].contents()
    jobs = []
    for name, template in templates.items():
        for messages, prompt, extras in itertools.product(CONVERSATIONS, [True, False], EXTRAS):
            variables = {"messages": messages, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>", **extras}
            jobs.append((name, template, variables))
            if name in ONLY_ERROR:
                break
    def bounded():  # a template that takes more memory than this would be killed, and the test fail
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    got = json.loads(subprocess.run([tool, "render"], input=json.dumps([{"template": t, "variables": v} for _, t, v in jobs]),
                                    capture_output=True, text=True, check=True, preexec_fn=bounded, timeout=300).stdout)
    failures = errors = 0
    compiled, rendered = {}, {}
    env = environment()
    for (name, template, variables), ours in zip(jobs, got, strict=True):
        if name in ONLY_ERROR:
            expected = None
        else:
            try:
                if name not in compiled:
                    compiled[name] = env.from_string(template)
                expected = compiled[name].render(**variables)
                rendered[name] = rendered.get(name, 0) + 1
            except Exception as error:
                expected, reason = None, error
        errors += expected is None
        if ours.get("text") != expected:
            failures += 1
            if failures <= 8:
                print(f"{name}: expected {expected!r}\n  got {ours}" + (f" ({reason})" if expected is None and name not in ONLY_ERROR else ""))
    for name in templates:
        if name.endswith(".jinja") and rendered.get(name, 0) < 12:
            failures += 1
            print(f"{name}: expected at least 12 conversations that it renders, got {rendered.get(name, 0)}")
    print(f"{len(templates)} templates, {len(jobs)} renderings, {errors} errors in both, {failures} differ")
    sys.exit(failures != 0)


main()
