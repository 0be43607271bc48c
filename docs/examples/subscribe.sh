#!/bin/sh
# Prints what a line decides and how it is, one line of text per message. Ctrl-C ends it.
#
#   subscribe.sh TOPIC [OPTION OF mosquitto_sub]...
#   subscribe.sh factory/line1 -h broker.factory.example -u me -P secret
#
# Needs mosquitto_sub and jq: apt-get install mosquitto-clients jq
set -eu
topic=${1:?"the topic of a line is missing, such as factory/line1"}
shift

# The session (-i, -c, -x) makes the broker keep decisions for an hour while nobody listens.
mosquitto_sub -V mqttv5 -i "subscribe.sh-$(uname -n)" -c -x 3600 -q 1 \
    -t "$topic/defects" -t "$topic/state" "$@" |
    jq --unbuffered --raw-input --raw-output '
        fromjson?
        | if .schema == "edgecls/decision/1" then
              "\(.ts) \(.line) part \(.part): \(.verdict) \(.label // "-") \(.score // "-")"
              + (if .reason then " (\(.reason))" else "" end)
              + (if .late then " late" else "" end)
          elif .schema == "edgecls/state/1" then
              "\(.ts) \(.line) is \(.state)" + (if .reason == "" then "" else ": \(.reason)" end)
          else empty end'
