"""Every page in Chinese: no English sentence but what a person or the record wrote."""
# ruff: noqa: RUF001 - Chinese has its own punctuation

import re
from datetime import timedelta

import httpx
import pytest

from console.i18n import in_language
from console.quoted import advised, quoted, reason, said
from tests import browsing, chinese, harm
from tests.pages import send, token_of
from tests.running import running

CHINESE = {"Accept-Language": "zh-CN"}
WATCHED = """\
guardrails:
  - {rule: sample_ratio}
  - {rule: freshness, max_age: 3h}
  - {rule: limit, kpi: flow_failure_rate, max: 5%, action: alert}
  - {rule: catastrophe, kpi: cancel_success_rate, action: alert}
  - {rule: baseline, kpi: contact_rate}
  - {rule: promql, query: refund_p99, max: 0.8}
  - {rule: alert, name: CheckoutErrors}
  - {kpi: satisfaction, max_drop: 3%}
  - {kpi: refund_hours, max_rise: 5%, dry_run: true}
"""
OWNED = "title: {title}\nhypothesis: 更少的步骤让人更满意。\nowner: 体验组\nunit:"
FREEZE = "freeze:\n  - {from: 2026-01-01T00:00Z, to: 2026-02-01T00:00Z, why: 春节}\nends:"
SETTINGS = {
    "queries": {"refund_p99": "up"},
    "prometheus_url": "http://127.0.0.1:9",
    "webhooks": {"ops": "http://127.0.0.1:9/hook"},
}


def owned(text, title, key=None):
    """Return a spec whose texts are Chinese, as its owner wrote them."""
    gone = ("title:", "hypothesis:", "owner:")
    lines = [line for line in text.splitlines() if not line.startswith(gone)]
    spec = "\n".join(lines).replace("unit:", OWNED.format(title=title), 1) + "\n"
    return spec if key is None else re.sub("experiment: .*", f"experiment: {key}", spec)


@pytest.fixture(scope="module")
def it():
    """A service with something of everything, whose harmful treatment was turned back."""
    watched = owned(harm.SPEC, "取消流程").replace("guardrails:\n", WATCHED)
    ramp = owned(browsing.RAMP, "骑手地图")
    frozen = ramp.replace(", approval: true", "").replace("6h, min_units: 500", "1h")
    files = (
        watched,
        ramp,
        owned(browsing.DRAFT, "优惠提醒"),
        owned(watched, "暂停", "paused-one"),
        owned(ramp, "停止", "stopped-one"),
        owned(frozen, "冻结", "frozen-one").replace("ends:", FREEZE),
    )
    with running(**SETTINGS) as service:
        for text in files:
            answer = service.apply(text)
            assert answer.status_code == 201, answer.text
        changed = ramp.replace("+5%", "+8%").replace("[repurchase_rate]", "[contact_rate]")
        assert service.apply(changed).status_code == 200
        service.act("pause", key="paused-one", reason="看一看")
        service.act("stop", key="stopped-one", reason="不需要了")
        browsing.to(service, harm.START + harm.HOUR)
        story = list(harm.story())
        for part in (story[:400], story[400:], [{"id": "1", "name": "satisfaction_rated"}, 1]):
            service.http.post("/api/v1/events", json=part)
        browsing.turn_back(service)
        yield service


def paths(it):
    """Return every page there is: those of every experiment, rollback and action too."""
    keys = [e["key"] for e in it.http.get("/api/v1/experiments").json()["experiments"]]
    found = [*browsing.pages(it).values(), *(f"/experiments/{key}" for key in keys)]
    for view in (it.http.get(f"/api/v1/experiments/{key}").json() for key in keys):
        arms = [v["name"] for v in view["variants"] if v["state"] != "control"]
        for action in view["actions"]:
            base = f"/experiments/{view['key']}/actions/{action}"
            of_arms = action in {"resume", "roll_back"}
            found += [f"{base}/{arm}" for arm in arms] if of_arms else [base]
    return list(dict.fromkeys(found))


def left(it):
    """Return (path, text) of every English sentence on a page in Chinese."""
    asked = ((path, it.http.get(path, headers=CHINESE)) for path in paths(it))
    return [(path, text) for path, page in asked for text in chinese.leftovers(page.text)]


def test_no_page_says_an_english_sentence(it):
    assert left(it) == []


def test_what_a_service_says_in_trouble_is_chinese(it):
    it.act("resume", key=harm.KEY, variant="treatment", reason="修好了")
    it.http.post("/api/v1/suspension", json={"suspended": True, "reason": "演练"})
    browsing.to(it, harm.START + timedelta(hours=30))
    assert (
        "引擎自 2026-01-05 02:00 UTC 起由 api 停用（演练）"
        in it.http.get("/health", headers=CHINESE).text
    )
    assert left(it) == []


def test_an_action_from_a_chinese_page_is_recorded_in_english(it):
    path, who = "/experiments/exp/actions/pause", {"reason": "看一看", "actor": "小王"}
    with httpx.Client(base_url=it.url, headers=CHINESE) as http:
        token = token_of(http.get(path).text)
        sent = {"csrf": token, "headers": {"Origin": it.url}, **who}
        assert send(http, path, **sent).status_code == 303
        assert "没有执行任何操作：状态为“已暂停”时不能执行“暂停”" in send(http, path, **sent).text
        told = {message.title for message in it.services.engine.untold()}
        assert "exp is paused: everybody gets control for now" in told
        assert "exp 已暂停：所有人暂时得到对照版本" in http.get("/health").text


def test_the_crawler_finds_english_wherever_a_person_reads_it():
    page = """<html lang="zh"><body><p>回退 <b>was turned back</b></p>
    <img alt="a chart of it"><code>turnback apply FILE</code><span lang="en">a quotation of it</span>
    <p>turnback_config_valid 和 `turnback apply X`：cancel_success_rate、control</p>
    <input placeholder="name, owner"><br><script>var no = "text of ours"</script>
    <td data-label="Its units">12</td></body></html>"""
    assert chinese.leftovers(page) == [
        "was turned back",
        "a chart of it",
        "name, owner",
        "Its units",
    ]


REASONS = {
    "revision 1 applied from a spec.yaml": "已应用版次 1，来自 a spec.yaml",
    "the time set in the file has come": "文件中设定的时间已到",
    "Satisfaction of b is 5.1% lower (between 7% lower and 3% lower) than control (4.2 → 4, 1,200 "
    "and 1,180 units with a value whose window of 1 d has closed). The file tolerates 3%; harm of "
    "more than 1.5% is proven at look 3 (z 3.12 against a boundary of 2.9), at a level of 1% for this "
    "comparison.": "b 的用户满意度比 control 低 5.1%",
    "goal expect: +5% becomes +8%; variant map weight: 50% becomes 40%": "goal › expect：+5% 改为"
    " +8%；版本 map › weight：50% 改为 40%",
    "satisfaction of b could not be judged since 2026-01-05 02:00 UTC, 3 h ago: the file pauses "
    "the experiment then": "按文件规定，此时暂停实验",
    "auto_ship: Ship b: over 2 whole weeks at full traffic its goal is better, every guardrail is "
    "within its margin and nothing is worse.": "auto_ship：建议发布 b：在全量流量下的 2 个整周内",
}


@pytest.mark.parametrize("recorded", REASONS)
def test_what_the_engine_recorded_is_said_in_the_language_of_the_page(recorded):
    assert said(recorded) == recorded, "English pages show it as it stands"
    with in_language("zh"):
        found = reason(recorded, "turnback")
        assert REASONS[recorded] in found
        assert not chinese.english(found.replace("a spec.yaml", ""))
        assert quoted(found) == found


def test_words_of_people_stand_and_what_is_not_known_is_marked_as_english():
    typed = "the time set in the file has come"
    with in_language("zh"):
        assert reason(typed, "ann") == typed
        assert quoted(typed, ours=False) == typed
        assert quoted(said("a <b> nobody said")) == '<span lang="en">a &lt;b&gt; nobody said</span>'
        assert quoted(said("http://a.example")) == "http://a.example"
    assert quoted("a sentence of it") == "a sentence of it"


def test_advice_is_said_treatment_by_treatment():
    told = {
        "words": "Keep control instead of b: something is worse.",
        "reasons": ["Keep control instead of b: something is worse. satisfaction stands in breach"],
        "treatments": [
            {
                "words": "Keep control instead of b: something is worse.",
                "reasons": [
                    "satisfaction stands in breach",
                    "Refund hours over 7 d: 5% higher, 90 and 80 units: proven worse",
                ],
            }
        ],
    }
    assert advised(told) == told
    with in_language("zh"):
        found = advised(told)
    assert found["words"] == "保留对照版本，不采用 b：有指标变差。"
    assert found["reasons"][0].startswith(
        "保留对照版本，不采用 b：有指标变差。 satisfaction 仍处于突破"
    )
    assert advised(None) is None
